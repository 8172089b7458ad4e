package ws

// Openings for the tests.
var (
	NegotiateDeflate = negotiateDeflate
)

// Names is how many groups are known.
func (s *Groups) Names() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.named)
}
