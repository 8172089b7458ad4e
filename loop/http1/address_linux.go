package http1

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// address is where a connection comes from, as accept has told it: an IPv6 address, or an
// IPv4 one in its form, and a port, most significant byte first. All zeros are not known.
type address [18]byte

// set takes what accept has written. An address that needs a zone is left to getpeername.
func (a *address) set(from *unix.RawSockaddrAny) {
	if from == nil {
		return
	}
	switch from.Addr.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(from))
		mapped := netip.AddrFrom4(v4.Addr).As16()
		a.join(mapped, v4.Port)
	case unix.AF_INET6:
		v6 := (*unix.RawSockaddrInet6)(unsafe.Pointer(from))
		if v6.Scope_id == 0 {
			a.join(v6.Addr, v6.Port)
		}
	}
}

// join takes a port as the kernel has it.
func (a *address) join(ip [16]byte, port uint16) {
	copy(a[:], ip[:])
	*(*[2]byte)(a[16:]) = *(*[2]byte)(unsafe.Pointer(&port))
}

// String is the address as net.TCPAddr has it; it is empty where it is not known.
func (a *address) String() string {
	if *a == (address{}) {
		return ""
	}
	ip := netip.AddrFrom16([16]byte(a[:16])).Unmap()
	return netip.AddrPortFrom(ip, uint16(a[16])<<8|uint16(a[17])).String()
}
