package tokens

import "context"

// A configStore is the store for credentials that live in the connector's
// configuration, which only its orchestrator can change. A new pair is durable
// once the orchestrator has been handed it; a runner that does not listen loses
// it. Processes started with the same configuration know nothing of each other.
type configStore struct {
	current Credentials
	rotated func(Credentials) error
}

// NewConfigStore returns a store over the credentials of a configuration.
// Rotated hands a new pair to whoever keeps the configuration, and returns when
// it is out of this process.
func NewConfigStore(c Credentials, rotated func(Credentials) error) Store {
	return &configStore{current: c, rotated: rotated}
}

func (s *configStore) Load(context.Context) (Credentials, error) { return s.current, nil }

func (s *configStore) Claim(_ context.Context, c Credentials) (func(), error) {
	if !c.same(s.current) {
		return nil, ErrReplaced
	}
	return func() {}, nil
}

func (s *configStore) Save(_ context.Context, c Credentials) error {
	if err := s.rotated(c); err != nil {
		return err
	}
	s.current = c
	return nil
}
