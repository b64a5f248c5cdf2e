package maintenance_test

import (
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

func TestMain(m *testing.M) { laketest.Main(m) }
