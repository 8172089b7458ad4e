//go:build !linux

package std

import "net/http"

// hold does nothing: the body is read as it comes.
func (b *body) hold(*http.Request, int64) {}

// Held says that the system has the body, which it does not.
func (b *body) Held() bool { return b.held }
