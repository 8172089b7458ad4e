package ws

// Openings for the tests.
var (
	NegotiateDeflate = negotiateDeflate
	ParsePrepared    = parsePrepared
	Marked           = (*Prepared).marked
)

// Names is how many groups are known.
func (s *Groups) Names() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.named)
}
