package servers

import (
	"context"
	"net/http"
	"os/exec"
	"strconv"
)

// FakeSnow speaks the protocol of Snowflake's drivers, and lets everybody in. It keeps everything in
// memory.
func (p Programs) FakeSnow(ctx context.Context) (*Server, error) {
	program, err := p.find("fakesnow/bin/uvicorn")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, "fakesnow.server:app", "--host", "127.0.0.1", "--port", strconv.Itoa(address.Port))
	s, err := start(ctx, "fakesnow", cmd, terminate, responds("http://"+address.String()+"/", http.StatusNotFound))
	if err != nil {
		return nil, err
	}
	s.Endpoint = "http://" + address.String()
	return s, nil
}
