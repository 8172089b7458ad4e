package webtest

import "time"

// Impatient is m with a second between SIGTERM and SIGKILL.
func Impatient(m Manager) Manager {
	m.patience = time.Second
	return m
}
