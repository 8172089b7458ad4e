package app

import "strings"

// NameError says that a name names no application. The worker ends with exit status 2.
type NameError struct {
	Name   string // as it was asked for
	Reason string // what was tried, or why it cannot be
	// Nearest is the built-in that the name resembles most, or empty.
	Nearest string
	// Known are the built-ins, for an answer that shows what there is.
	Known []string
}

func (e *NameError) Error() string {
	var b strings.Builder
	b.WriteString("no app " + e.Name)
	if e.Nearest != "" {
		b.WriteString(", did you mean " + e.Nearest + "?")
	}
	if len(e.Known) > 0 {
		b.WriteString(" (built in: " + strings.Join(e.Known, ", ") + ")")
	}
	b.WriteString(": " + e.Reason)
	return b.String()
}

// LoadError says that an application was found and did not load or start. The worker
// ends with exit status 3.
type LoadError struct {
	Name Name
	Err  error
}

func (e *LoadError) Error() string { return "app " + e.Name.String() + ": " + e.Err.Error() }

// Unwrap returns what went wrong.
func (e *LoadError) Unwrap() error { return e.Err }
