package ws

// Openings for the tests.
var (
	NegotiateDeflate = negotiateDeflate
	OriginAllowed    = originAllowed
)
