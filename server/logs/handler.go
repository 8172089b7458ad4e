package logs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Format is how a log's lines look.
type Format string

// The formats.
const (
	Text Format = "text" // 2012-05-30 17:28:41 [4021] [INFO] message key=value
	JSON Format = "json" // an object a line, by slog.JSONHandler, with the pid
)

// Formats are the names of all formats.
func Formats() []string { return []string{string(Text), string(JSON)} }

// NewHandler returns a handler that writes records of at least level to w, a record a
// Write, in the given format.
func NewHandler(w io.Writer, format Format, level slog.Leveler) slog.Handler {
	if format == JSON {
		replace := func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.LevelKey && len(groups) == 0 {
				if l, ok := a.Value.Any().(slog.Level); ok {
					a.Value = slog.StringValue(levelName(l))
				}
			}
			return a
		}
		h := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: replace})
		return h.WithAttrs([]slog.Attr{slog.Int("pid", os.Getpid())})
	}
	return &textHandler{out: &output{w: w}, level: level, pid: strconv.Itoa(os.Getpid())}
}

// textHandler writes the format of Chaussette 1. Attributes follow the message as
// key=value, quoted where they must be; lines of a message or a value that go on (a
// stack) are indented, so that each record begins at a line's start, and only records do.
type textHandler struct {
	out    *output
	level  slog.Leveler
	pid    string
	prefix string // of attributes' keys: the open groups
	attrs  string // already written out
}

// output is shared by a handler and all that WithAttrs and WithGroup made of it.
type output struct {
	mu sync.Mutex // held over the Write: a line is never mixed with another
	w  io.Writer
}

func (h *textHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	b := make([]byte, 0, 256)
	b = r.Time.AppendFormat(b, time.DateTime)
	b = append(b, " ["...)
	b = append(b, h.pid...)
	b = append(b, "] ["...)
	b = append(b, levelName(r.Level)...)
	b = append(b, "] "...)
	b = append(b, indent(r.Message)...)
	b = append(b, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, h.prefix, a)
		return true
	})
	b = append(b, '\n')
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := h.out.w.Write(b)
	return err
}

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	b := []byte(h.attrs)
	for _, a := range attrs {
		b = appendAttr(b, h.prefix, a)
	}
	with.attrs = string(b)
	return &with
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.prefix += name + "."
	return &with
}

func appendAttr(b []byte, prefix string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return b
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			b = appendAttr(b, prefix, member)
		}
		return b
	}
	b = append(b, ' ')
	b = append(b, prefix...)
	b = append(b, a.Key...)
	b = append(b, '=')
	return append(b, quote(text(v))...)
}

func text(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		return fmt.Sprint(v.Any())
	default:
		return v.String()
	}
}

// quote quotes s where a reader could not tell where it ends. A text of several lines
// (a stack) stays readable: it starts on a line of its own.
func quote(s string) string {
	switch {
	case strings.Contains(s, "\n"):
		return indent("\n" + strings.TrimRight(s, "\n"))
	case s == "" || strings.ContainsAny(s, " \"=\t\r") || strings.ContainsFunc(s, unprintable):
		return strconv.Quote(s)
	}
	return s
}

// indent sets continued lines off from the next record. Control characters, which a
// client may have sent, are escaped: a terminal must not obey them, nor a log be forged.
func indent(s string) string {
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	s = strings.ReplaceAll(strings.TrimRight(s, "\n"), "\r\n", "\n")
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString("\n    ")
		case r == '\t' || !unprintable(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return !strconv.IsPrint(r) }
