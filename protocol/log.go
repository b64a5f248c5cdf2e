package protocol

import (
	"context"
	"log/slog"
	"strings"
)

// Logger returns a logger whose lines become LOG messages, from INFO up, or from DEBUG
// with --debug or LOG_LEVEL=debug.
func (e *Emitter) Logger() *slog.Logger { return e.log }

// logHandler writes "message key=value …" as one LOG message.
type logHandler struct {
	out    *Emitter
	level  slog.Leveler
	prefix string // of attribute keys, by group
	attrs  string // already formatted
}

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		formatAttr(&b, h.prefix, a)
		return true
	})
	return h.out.logWith(levelName(r.Level), r.Message, b.String())
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		formatAttr(&b, h.prefix, a)
	}
	c := *h
	c.attrs = b.String()
	return &c
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.prefix += name + "."
	return &c
}

// formatAttr appends " key=value". Members of a group are prefixed with its name.
func formatAttr(b *strings.Builder, prefix string, a slog.Attr) {
	if a.Equal(slog.Attr{}) {
		return
	}
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			formatAttr(b, prefix, member)
		}
		return
	}
	b.WriteByte(' ')
	b.WriteString(prefix)
	b.WriteString(a.Key)
	b.WriteByte('=')
	text := v.String()
	if strings.ContainsAny(text, " \"=\n") || text == "" {
		b.Write(appendString(nil, text))
		return
	}
	b.WriteString(text)
}

func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "ERROR"
	case l >= slog.LevelWarn:
		return "WARN"
	case l >= slog.LevelInfo:
		return "INFO"
	default:
		return "DEBUG"
	}
}
