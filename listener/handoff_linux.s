// Empty, so that the compiler accepts functions without a body (handoff_linux.go).
