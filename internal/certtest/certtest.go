// Package certtest has the certificate that tests speak TLS with.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Certificate is for 127.0.0.1, signed by itself, with a key on an elliptic curve, and valid for
// less than two weeks: what browsers take by its hash has to be so.
type Certificate struct{ tls.Certificate }

// Get returns the process's certificate.
var Get = sync.OnceValue(func() *Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(13 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &Certificate{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}
})

// Pool is what a client trusts that is to trust c.
func (c *Certificate) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.Leaf)
	return pool
}

// Hash is that of serverCertificateHashes in a page, in base64.
func (c *Certificate) Hash() string {
	sum := sha256.Sum256(c.Leaf.Raw)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// File writes c and its key to a file, in PEM, which is there as long as the test runs.
func (c *Certificate) File(tb testing.TB) string {
	tb.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Leaf.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	file := filepath.Join(tb.TempDir(), "both.pem")
	if err := os.WriteFile(file, both, 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}
