package ws

import "fmt"

// StatusCode says why a connection is closed (RFC 6455, 7.4).
type StatusCode uint16

// The registered codes. StatusNone and StatusAbnormal never travel: they stand for a
// close frame without a code, and for none at all.
const (
	StatusNormal             StatusCode = 1000
	StatusGoingAway          StatusCode = 1001
	StatusProtocolError      StatusCode = 1002
	StatusUnsupportedData    StatusCode = 1003
	StatusNone               StatusCode = 1005
	StatusAbnormal           StatusCode = 1006
	StatusInvalidPayload     StatusCode = 1007
	StatusPolicyViolation    StatusCode = 1008
	StatusMessageTooBig      StatusCode = 1009
	StatusMandatoryExtension StatusCode = 1010
	StatusInternalError      StatusCode = 1011
	StatusServiceRestart     StatusCode = 1012
	StatusTryAgainLater      StatusCode = 1013
	StatusBadGateway         StatusCode = 1014
	StatusTLSHandshake       StatusCode = 1015
)

var statusNames = map[StatusCode]string{
	StatusNormal:             "normal",
	StatusGoingAway:          "going away",
	StatusProtocolError:      "protocol error",
	StatusUnsupportedData:    "unsupported data",
	StatusNone:               "no status",
	StatusAbnormal:           "abnormal closure",
	StatusInvalidPayload:     "invalid payload",
	StatusPolicyViolation:    "policy violation",
	StatusMessageTooBig:      "message too big",
	StatusMandatoryExtension: "mandatory extension missing",
	StatusInternalError:      "internal error",
	StatusServiceRestart:     "service restart",
	StatusTryAgainLater:      "try again later",
	StatusBadGateway:         "bad gateway",
	StatusTLSHandshake:       "TLS handshake",
}

func (s StatusCode) String() string {
	if name, ok := statusNames[s]; ok {
		return fmt.Sprintf("%d %s", uint16(s), name)
	}
	return fmt.Sprint(uint16(s))
}

// Sendable reports whether s may stand in a close frame: a registered code that is not
// for local use alone, or one for libraries and applications, 3000 to 4999 (RFC 6455,
// 7.4.2).
func (s StatusCode) Sendable() bool {
	switch s {
	case 1004, StatusNone, StatusAbnormal, StatusTLSHandshake:
		return false
	}
	return s >= 1000 && s <= 1014 || s >= 3000 && s <= 4999
}
