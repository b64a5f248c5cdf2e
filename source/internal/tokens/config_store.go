package tokens

import "context"

// A configStore is the store for credentials that live in the connector's
// configuration, which only its orchestrator can change. A new pair is durable
// once the orchestrator has been handed it; a runner that does not listen loses
// it. Processes started with the same configuration know nothing of each other.
type configStore struct {
	current Credentials
	ready   func() error
	rotated func(Credentials) error
}

// NewConfigStore returns a store over the credentials of a configuration.
// Ready says something to whoever keeps the configuration, and returns an error if
// nobody takes it. Rotated hands over a new pair, and returns when it is out of this
// process. An error of either is final.
func NewConfigStore(c Credentials, ready func() error, rotated func(Credentials) error) Store {
	return &configStore{current: c, ready: ready, rotated: rotated}
}

func (s *configStore) Load(context.Context) (Credentials, error) { return s.current, nil }

// Check knows nothing: what ready would say is not for those who only check.
func (s *configStore) Check(context.Context) error { return nil }

func (s *configStore) Claim(_ context.Context, c Credentials) (func(refused bool), error) {
	if !c.same(s.current) {
		return nil, ErrReplaced
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	return func(bool) {}, nil
}

func (s *configStore) Save(_ context.Context, c Credentials) error {
	if err := s.rotated(c); err != nil {
		return finalError{err}
	}
	s.current = c
	return nil
}

// A finalError is one of a Save that no other attempt can mend.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }
