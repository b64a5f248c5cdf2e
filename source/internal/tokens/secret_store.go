package tokens

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
)

// A secretStore keeps credentials as one JSON document in a secret of AWS
// Secrets Manager that processes anywhere may share.
//
// Secrets Manager has no locks, but a version's id is the writer's choice and is
// given once: of all who put a version with one id and different contents, one
// succeeds. So a claim on version V of the document is a version of its own, its
// id derived from V, under a label of its own that leaves the document alone. It
// needs no permission beyond that to put the new document, and so tells early
// whether that could be put.
type secretStore struct {
	config SecretConfig
	client *secretsmanager.Client // nil before the first use
	owner  string                 // makes this store's claims differ from all others
	expiry time.Duration          // of a claim
	poll   time.Duration          // between two looks at another's claim

	claimed *secretVersion // by this store, and not yet replaced
}

// SecretConfig says which secret, and how to reach it.
type SecretConfig struct {
	ID         string // name or ARN
	Region     string // empty: that of the ARN, else of the environment or of AWS's shared configuration
	RoleARN    string // to assume with the credentials that AWS's chain finds; empty: none
	ExternalID string // that the role asks for; empty: none
	Endpoint   string // URL of an emulator; empty: AWS
}

const (
	// claimLabel is the staging label of the last claim.
	claimLabel = "WHOOP_REFRESH_CLAIM"
	// checkLabel is the staging label of what Check puts.
	checkLabel = "WHOOP_CHECK"
	// claimExpiry is the age at which a claim belongs to a dead process: longer than a
	// refresh takes with all its attempts, waits for quota, and savePatience.
	claimExpiry = 20 * time.Minute
	// AWS keeps about a hundred versions of a secret and removes none of the last 24 hours,
	// and a refresh that fails adds two. So after quickTurns claims on a version there is
	// one in slowTurn, and after a refused one the next comes after that time, too. What is
	// left is for the pair of the refresh that succeeds, and for a new consent.
	quickTurns = 8
	slowTurn   = time.Hour
	// secretPoll costs a waiting process four requests a second.
	secretPoll = 500 * time.Millisecond
)

// NewSecretStore returns a store over a secret. AWS's standard chain finds the
// credentials: the environment, the shared configuration, a web identity, the
// container, the machine.
func NewSecretStore(c SecretConfig) Store {
	return &secretStore{config: c, owner: rand.Text(), expiry: claimExpiry, poll: secretPoll}
}

// A secretVersion is a version of the secret that holds the document.
type secretVersion struct {
	id       string
	document []byte
}

// A claim is the content of a version under claimLabel.
type claim struct {
	Of    string `json:"of"`    // id of the version that is claimed
	Turn  int    `json:"turn"`  // of the claims on that version, from 0
	Owner string `json:"owner"` // of the store that claims
	Over  bool   `json:"over"`  // released without a new document

	Refused bool `json:"refused,omitzero"` // because WHOOP refused the refresh token
}

func (s *secretStore) Load(ctx context.Context) (Credentials, error) {
	_, c, err := s.current(ctx)
	return c, err
}

// current reads the document as it is now.
func (s *secretStore) current(ctx context.Context) (secretVersion, Credentials, error) {
	var c Credentials
	v, _, err := s.get(ctx, "AWSCURRENT")
	if err == nil {
		c, err = parseDocument(v.document)
	}
	if err != nil {
		return v, c, s.wrap("reading", err)
	}
	return v, c, nil
}

// Check puts the current version once more. AWS ignores that, as documented, but not
// from those who may put nothing: the secret gets no other version, of which AWS keeps
// about a hundred a day. The label is one of its own, so that an emulator that does not
// ignore it takes AWSCURRENT from nobody.
func (s *secretStore) Check(ctx context.Context) error {
	v, _, err := s.current(ctx)
	if err != nil {
		return err
	}
	if err := s.put(ctx, &secretsmanager.PutSecretValueInput{
		ClientRequestToken: aws.String(v.id), SecretString: aws.String(string(v.document)), VersionStages: []string{checkLabel},
	}); err != nil {
		return s.wrap("writing", err)
	}
	return nil
}

// Claim polls while another process holds a claim that has not expired.
func (s *secretStore) Claim(ctx context.Context, c Credentials) (func(refused bool), error) {
	for {
		mine, err := s.tryClaim(ctx, c)
		if err != nil {
			return nil, err
		}
		if mine != nil {
			return func(refused bool) { s.release(ctx, *mine, refused) }, nil
		}
		if err := sleep(ctx, s.poll); err != nil {
			return nil, err
		}
	}
}

// tryClaim returns nil if another process holds a claim.
func (s *secretStore) tryClaim(ctx context.Context, c Credentials) (*claim, error) {
	v, stored, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	if !stored.same(c) {
		return nil, ErrReplaced
	}
	mine := claim{Of: v.id, Owner: s.owner}
	last, age, err := s.lastClaim(ctx)
	switch {
	case err != nil:
		return nil, err
	case last.Of == v.id && !last.Over && age < s.expiry:
		return nil, nil
	case last.Of == v.id && last.Refused && age < slowTurn:
		return nil, &RevokedError{errRefusedBefore}
	case last.Of == v.id && last.Turn >= quickTurns && age < slowTurn:
		return nil, s.wrap("claiming", fmt.Errorf("%d refreshes of these tokens have failed, and the next one is made an hour after the last: %w", last.Turn+1, ErrUnavailable))
	case last.Of == v.id:
		mine.Turn = last.Turn + 1
	}
	if err := s.mark(ctx, mine); errors.Is(err, ErrReplaced) {
		return nil, nil // another process was faster
	} else if err != nil {
		return nil, err
	}
	// The owner of an expired claim may have been slow rather than dead.
	now, _, err := s.current(ctx)
	switch {
	case err != nil:
		return nil, err
	case now.id != v.id:
		return nil, ErrReplaced
	}
	s.claimed = &v
	return &mine, nil
}

// lastClaim returns the last claim there was on any version, and its age by
// AWS's clock, since the clocks of its owner and of this machine may differ.
func (s *secretStore) lastClaim(ctx context.Context) (claim, time.Duration, error) {
	v, age, err := s.get(ctx, claimLabel)
	if errors.Is(err, ErrNotStored) {
		return claim{}, 0, nil
	}
	if err != nil {
		return claim{}, 0, s.wrap("claiming", err)
	}
	var c claim
	if err := json.Unmarshal(v.document, &c); err != nil {
		return c, 0, s.wrap("claiming", fmt.Errorf("its version labelled %s is not a claim", claimLabel))
	}
	return c, age, nil
}

// mark puts a claim, or its end, under the label.
func (s *secretStore) mark(ctx context.Context, c claim) error {
	content, err := json.Marshal(c)
	if err != nil {
		return s.wrap("claiming", err)
	}
	err = s.put(ctx, &secretsmanager.PutSecretValueInput{
		ClientRequestToken: aws.String(derivedID(c.Of, fmt.Sprintf("claim %d %t", c.Turn, c.Over))),
		SecretString:       aws.String(string(content)),
		VersionStages:      []string{claimLabel},
	})
	if err != nil {
		return s.wrap("claiming", err)
	}
	return nil
}

// release ends a claim. A claim on a document that was replaced has ended by itself, and
// one that cannot be released expires.
func (s *secretStore) release(ctx context.Context, mine claim, refused bool) {
	if s.claimed == nil {
		return
	}
	s.claimed = nil
	mine.Over, mine.Refused = true, refused
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	s.mark(ctx, mine) //nolint:errcheck // it expires
}

// Save is one request under a claim. Without one it makes the secret if there is
// none.
func (s *secretStore) Save(ctx context.Context, c Credentials) error {
	if s.claimed != nil {
		err := s.replace(ctx, s.claimed.document, c, successorOf(*s.claimed))
		if errors.Is(err, ErrReplaced) { // or somebody has taken the secret back to a version that once had a successor
			now, _, gerr := s.get(ctx, "AWSCURRENT")
			switch {
			case gerr != nil:
				err = s.wrap("writing", gerr)
			case now.id == s.claimed.id:
				err = s.replace(ctx, s.claimed.document, c, nil)
			}
		}
		if err == nil {
			s.claimed = nil
		}
		return err
	}
	var before *string
	for {
		v, _, err := s.get(ctx, "AWSCURRENT")
		if err != nil && !errors.Is(err, ErrNotStored) {
			return s.wrap("writing", err)
		}
		id := successorOf(v)
		if v.id == "" || before != nil && v.id == *before {
			id = nil // there was no value yet, or the successor is no longer the current version
		}
		switch err := s.replace(ctx, v.document, c, id); {
		case errors.Is(err, ErrNotStored):
			return s.create(ctx, c)
		case !errors.Is(err, ErrReplaced): // else a refresh was faster, and is replaced in turn
			return err
		}
		before = &v.id
	}
}

// successorOf is the id of the version that takes a version's place. It is given once, so
// neither the slow owner of an expired claim nor a refresh that is under way undoes what
// another process has stored meanwhile.
func successorOf(v secretVersion) *string { return aws.String(derivedID(v.id, "successor")) }

// replace puts credentials in the place of those in a document. The id is that of
// the new version; nil: any.
func (s *secretStore) replace(ctx context.Context, document []byte, c Credentials, id *string) error {
	merged, err := mergeDocument(document, c)
	if err == nil {
		err = s.put(ctx, &secretsmanager.PutSecretValueInput{ClientRequestToken: id, SecretString: aws.String(string(merged))})
	}
	if err != nil {
		return s.wrap("writing", err)
	}
	return nil
}

// wrap adds the secret to an error.
func (s *secretStore) wrap(doing string, err error) error {
	return fmt.Errorf("%s the secret %s: %w", doing, s.config.ID, err)
}

// derivedID makes the id of a version out of what it is for, in the form of a
// UUID, as Secrets Manager advises.
func derivedID(version, purpose string) string {
	h := sha256.Sum256([]byte(version + "\x00" + purpose))
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// get reads the version under a label, and its age by AWS's clock. Its error is
// ErrNotStored if there is none.
func (s *secretStore) get(ctx context.Context, label string) (secretVersion, time.Duration, error) {
	if err := s.open(ctx); err != nil {
		return secretVersion{}, 0, err
	}
	out, err := s.client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{
		SecretId: aws.String(s.config.ID), VersionStage: aws.String(label),
	})
	if err != nil {
		return secretVersion{}, 0, explainAWS(ctx, err, mayUse)
	}
	if out.SecretString == nil {
		return secretVersion{}, 0, DocumentError("it holds binary data, not a JSON document")
	}
	now, ok := middleware.GetServerTime(out.ResultMetadata)
	if !ok {
		now = time.Now()
	}
	return secretVersion{aws.ToString(out.VersionId), []byte(*out.SecretString)}, now.Sub(aws.ToTime(out.CreatedDate)), nil
}

// put adds a version. Its error is ErrReplaced if there is another one of that
// id.
func (s *secretStore) put(ctx context.Context, in *secretsmanager.PutSecretValueInput) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	in.SecretId = aws.String(s.config.ID)
	_, err := s.client.PutSecretValue(ctx, in)
	var exists *types.ResourceExistsException
	switch {
	case errors.As(err, &exists):
		return ErrReplaced
	case err != nil:
		return explainAWS(ctx, err, mayUse)
	}
	return nil
}

func (s *secretStore) create(ctx context.Context, c Credentials) error {
	document, err := mergeDocument(nil, c)
	if err != nil {
		return s.wrap("making", err)
	}
	_, err = s.client.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: aws.String(s.config.ID), SecretString: aws.String(string(document)),
		Description: aws.String("Tokens of a WHOOP member, replaced by the source when it refreshes them."),
	})
	if err != nil {
		return s.wrap("making", explainAWS(ctx, err, mayMake))
	}
	return nil
}
