package syncer

import "github.com/ingest-connectors/whoop-iceberg/protocol"

// maxShown is how many different errors of a source, and how many streams that the
// catalog does not have, are shown to the user.
const maxShown = 20

// isNew reports whether something is to be shown that was not shown before, and adds it
// to what was.
func isNew[K comparable](what K, shown map[K]struct{}) bool {
	if _, before := shown[what]; before || len(shown) == maxShown {
		return false
	}
	shown[what] = struct{}{}
	return true
}

// relayOnce shows an error of the source to the user, who would not see it
// otherwise: the source's messages end here.
func (r *run) relayOnce(message, shownOn string) {
	if isNew(message, r.relayed) {
		r.out.Relay(message, shownOn)
	}
}

// warnOfUnknown warns once of a stream that has a status and is not in the catalog.
func (r *run) warnOfUnknown(stream protocol.StreamID) {
	if isNew(stream, r.unknown) {
		r.log.Warn("the input holds a status of a stream that is not in the catalog", "stream", stream.String())
	}
}
