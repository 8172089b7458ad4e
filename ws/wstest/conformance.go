package wstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/ws"
)

// conformanceCase is a dialogue with an echo server, after the Autobahn suite's cases of
// the same numbers. After what is wanted the server either closes with one of the codes,
// or, without codes, the client closes.
type conformanceCase struct {
	name string
	// steps are sent one after another; after each the server has to have answered what
	// it wants before the next is sent.
	steps []step
}

type step struct {
	send  []byte
	chop  int // bytes in a piece; 0: all at once
	want  []Frame
	codes []ws.StatusCode
}

func sends(frames ...Frame) []byte {
	var b []byte
	for _, f := range frames {
		b = append(b, f.Bytes()...)
	}
	return b
}

// fragments splits a message: each part becomes a frame.
func fragments(opcode byte, parts ...string) []Frame {
	var frames []Frame
	for i, part := range parts {
		f := F(Continuation, part)
		if i == 0 {
			f.Opcode = opcode
		}
		f.More = i < len(parts)-1
		frames = append(frames, f)
	}
	return frames
}

// split cuts s in pieces of n bytes.
func split(s string, n int) []string {
	var parts []string
	for len(s) > n {
		parts = append(parts, s[:n])
		s = s[n:]
	}
	return append(parts, s)
}

func more(f Frame) Frame { f.More = true; return f }

func rsv(f Frame, bits byte) Frame { f.RSV = bits; return f }

// echoed is a case in which the frames are echoed as one message each.
func echoed(name string, send []byte, chop int, want ...Frame) conformanceCase {
	return conformanceCase{name, []step{{send: send, chop: chop, want: want}}}
}

// failing is a case that ends with one of the codes, after what is wanted.
func failing(name string, send []byte, chop int, code ws.StatusCode, want ...Frame) conformanceCase {
	return conformanceCase{name, []step{{send: send, chop: chop, want: want, codes: []ws.StatusCode{code}}}}
}

func conformanceCases() []conformanceCase {
	var all []conformanceCase
	add := func(cases ...conformanceCase) { all = append(all, cases...) }
	star := func(n int) string { return strings.Repeat("*", n) }

	// 1: framing.
	for _, op := range []byte{Text, Binary} {
		for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
			f := F(op, star(n))
			add(echoed(fmt.Sprintf("1.%d.%d", op, i+1), f.Bytes(), 0, f))
		}
		f := F(op, star(65536))
		add(echoed(fmt.Sprintf("1.%d.8", op), f.Bytes(), 997, f))
	}

	// 2: pings and pongs.
	ping, pong := F(Ping, "Hello, world!"), F(Pong, "Hello, world!")
	binary := "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
	add(
		echoed("2.1", F(Ping, "").Bytes(), 0, F(Pong, "")),
		echoed("2.2", ping.Bytes(), 0, pong),
		echoed("2.3", F(Ping, binary).Bytes(), 0, F(Pong, binary)),
		echoed("2.4", F(Ping, star(125)).Bytes(), 0, F(Pong, star(125))),
		failing("2.5", F(Ping, star(126)).Bytes(), 0, ws.StatusProtocolError),
		echoed("2.6", F(Ping, star(125)).Bytes(), 1, F(Pong, star(125))),
		echoed("2.7", F(Pong, "").Bytes(), 0),
		echoed("2.8", F(Pong, "unsolicited").Bytes(), 0),
		echoed("2.9", sends(F(Pong, "unsolicited"), ping), 0, pong),
	)
	var pings, pongs []Frame
	for i := range 10 {
		pings = append(pings, F(Ping, fmt.Sprint("payload-", i)))
		pongs = append(pongs, F(Pong, fmt.Sprint("payload-", i)))
	}
	add(echoed("2.10", sends(pings...), 0, pongs...), echoed("2.11", sends(pings...), 1, pongs...))

	// 3: reserved bits.
	hello := F(Text, "Hello, world!")
	add(
		failing("3.1", rsv(hello, 4).Bytes(), 0, ws.StatusProtocolError),
		failing("3.2", sends(hello, rsv(hello, 2), ping), 0, ws.StatusProtocolError, hello),
		failing("3.3", sends(hello, rsv(hello, 3), ping), 64, ws.StatusProtocolError, hello),
		failing("3.4", sends(hello, rsv(hello, 4), ping), 1, ws.StatusProtocolError, hello),
		failing("3.5", rsv(F(Binary, binary), 5).Bytes(), 0, ws.StatusProtocolError),
		failing("3.6", rsv(ping, 6).Bytes(), 0, ws.StatusProtocolError),
		failing("3.7", rsv(CloseFrame(ws.StatusNormal, ""), 7).Bytes(), 0, ws.StatusProtocolError),
	)

	// 4: reserved opcodes.
	for i, op := range []byte{3, 4, 5, 6, 7} {
		add(failing(fmt.Sprintf("4.1.%d", i+1), sends(hello, F(op, star(i)), ping), i%2, ws.StatusProtocolError, hello))
	}
	for i, op := range []byte{11, 12, 13, 14, 15} {
		add(failing(fmt.Sprintf("4.2.%d", i+1), sends(hello, F(op, star(i)), ping), i%2, ws.StatusProtocolError, hello))
	}

	// 5: fragmentation.
	two := fragments(Text, "fragment1", "fragment2")
	joined := F(Text, "fragment1fragment2")
	five := fragments(Text, "fragment1", "fragment2", "fragment3", "fragment4", "fragment5")
	fiveJoined := F(Text, "fragment1fragment2fragment3fragment4fragment5")
	pinged := []Frame{five[0], five[1], F(Ping, "pongme 1!"), five[2], five[3], F(Ping, "pongme 2!"), five[4]}
	loose := F(Continuation, "non-continuation payload")
	add(
		failing("5.1", more(F(Ping, "fragment1")).Bytes(), 0, ws.StatusProtocolError),
		failing("5.2", more(F(Pong, "fragment1")).Bytes(), 0, ws.StatusProtocolError),
		echoed("5.3", sends(two...), 0, joined),
		echoed("5.4", sends(two...), 15, joined),
		echoed("5.5", sends(two...), 1, joined),
		echoed("5.6", sends(two[0], ping, two[1]), 0, pong, joined),
		echoed("5.7", sends(two[0], ping, two[1]), 15, pong, joined),
		echoed("5.8", sends(two[0], ping, two[1]), 1, pong, joined),
		failing("5.9", sends(loose, hello), 0, ws.StatusProtocolError),
		failing("5.10", sends(loose, hello), 30, ws.StatusProtocolError),
		failing("5.11", sends(loose, hello), 1, ws.StatusProtocolError),
		failing("5.12", sends(more(loose), hello), 0, ws.StatusProtocolError),
		failing("5.13", sends(more(loose), hello), 30, ws.StatusProtocolError),
		failing("5.14", sends(more(loose), hello), 1, ws.StatusProtocolError),
		failing("5.15", sends(two[0], two[1], more(loose), hello), 0, ws.StatusProtocolError, joined),
		failing("5.16", sends(more(loose), two[0], two[1]), 0, ws.StatusProtocolError),
		failing("5.17", sends(loose, two[0], two[1]), 0, ws.StatusProtocolError),
		failing("5.18", sends(two[0], F(Text, "fragment2")), 0, ws.StatusProtocolError),
		conformanceCase{"5.19", []step{
			{send: sends(pinged[:3]...), want: []Frame{F(Pong, "pongme 1!")}},
			{send: sends(pinged[3:]...), want: []Frame{F(Pong, "pongme 2!"), fiveJoined}}}},
		echoed("5.20", sends(pinged...), 1, F(Pong, "pongme 1!"), F(Pong, "pongme 2!"), fiveJoined),
	)

	add(utf8Cases()...)
	add(closeCases()...)

	// 9: large messages, within the limit; 10: many fragments.
	for i, n := range []int{1 << 16, 1 << 18, 1 << 20} {
		add(
			echoed(fmt.Sprintf("9.1.%d", i+1), F(Text, star(n)).Bytes(), 0, F(Text, star(n))),
			echoed(fmt.Sprintf("9.2.%d", i+1), F(Binary, star(n)).Bytes(), 0, F(Binary, star(n))),
		)
	}
	large := star(1 << 20)
	for i, n := range []int{64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 16} {
		add(
			echoed(fmt.Sprintf("9.3.%d", i+1), sends(fragments(Text, split(large, n)...)...), 0, F(Text, large)),
			echoed(fmt.Sprintf("9.4.%d", i+1), sends(fragments(Binary, split(large, n)...)...), 0, F(Binary, large)),
		)
	}
	for i, n := range []int{64, 128, 256, 512, 1024, 2048} {
		add(
			echoed(fmt.Sprintf("9.5.%d", i+1), F(Text, large[:n<<9]).Bytes(), n, F(Text, large[:n<<9])),
			echoed(fmt.Sprintf("9.6.%d", i+1), F(Binary, large[:n<<9]).Bytes(), n, F(Binary, large[:n<<9])),
		)
	}
	for i, n := range []int{0, 16, 64, 256, 1024, 4096} {
		var texts, binaries []Frame
		for range 200 {
			texts, binaries = append(texts, F(Text, star(n))), append(binaries, F(Binary, star(n)))
		}
		add(
			echoed(fmt.Sprintf("9.7.%d", i+1), sends(texts...), 0, texts...),
			echoed(fmt.Sprintf("9.8.%d", i+1), sends(binaries...), 0, binaries...),
		)
	}
	add(echoed("10.1.1", sends(fragments(Text, split(star(65536), 1300)...)...), 0, F(Text, star(65536))))
	return all
}

// largeCases are those of 9.1 to 9.4 that are past the limit of a message by default.
func largeCases() []conformanceCase {
	const mebi = 1 << 20
	star := strings.Repeat("*", 16*mebi)
	var all []conformanceCase
	for i, op := range []byte{Text, Binary} {
		for j, n := range []int{4, 8, 16} {
			f := F(op, star[:n*mebi])
			all = append(all, echoed(fmt.Sprintf("9.%d.%d", i+1, j+4), f.Bytes(), 0, f))
		}
		for _, n := range []int{1 << 10, 1 << 16, 1 << 18, mebi, 4 * mebi} {
			name := fmt.Sprintf("9.%d, 4 MiB in fragments of %d bytes", i+3, n)
			all = append(all, echoed(name, sends(fragments(op, split(star[:4*mebi], n)...)...), 0, F(op, star[:4*mebi])))
		}
	}
	return all
}

func utf8Cases() []conformanceCase {
	var all []conformanceCase
	add := func(cases ...conformanceCase) { all = append(all, cases...) }
	// 6.1: empty messages.
	add(
		echoed("6.1.1", F(Text, "").Bytes(), 0, F(Text, "")),
		echoed("6.1.2", sends(fragments(Text, "", "", "")...), 0, F(Text, "")),
		echoed("6.1.3", sends(fragments(Text, "", "middle", "")...), 0, F(Text, "middle")),
	)
	// 6.2: whole, cut between and within runes.
	const greek = "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!"
	const kosme = "\u03ba\u1f79\u03c3\u03bc\u03b5"
	add(
		echoed("6.2.1", F(Text, greek).Bytes(), 0, F(Text, greek)),
		echoed("6.2.2", sends(fragments(Text, greek[:13], greek[13:])...), 0, F(Text, greek)),
		echoed("6.2.3", sends(fragments(Text, split(greek, 1)...)...), 0, F(Text, greek)),
		echoed("6.2.4", sends(fragments(Text, split(kosme, 1)...)...), 0, F(Text, kosme)),
	)
	// 6.3: invalid text, whole and byte by byte.
	const bad = kosme + "\xed\xa0\x80" + "edited"
	add(
		failing("6.3.1", F(Text, bad).Bytes(), 0, ws.StatusInvalidPayload),
		failing("6.3.2", sends(fragments(Text, split(bad, 1)...)...), 0, ws.StatusInvalidPayload),
	)
	// 6.4: fails as soon as it can be known: what would come after is never sent.
	invalid := []ws.StatusCode{ws.StatusInvalidPayload}
	soon := func(name string, good, wrong, after string) {
		frames := fragments(Text, good, wrong, after)
		add(conformanceCase{name, []step{{send: frames[0].Bytes()}, {send: frames[1].Bytes(), codes: invalid}}})
		whole := F(Text, good+wrong+after).Bytes()
		head := len(whole) - len(good+wrong+after)
		cut := head + len(good)
		add(conformanceCase{name + " within a frame", []step{{send: whole[:cut]}, {send: whole[cut : cut+len(wrong)], codes: invalid}}})
	}
	soon("6.4.1", kosme, "\xf4\x90\x80\x80", "edited")
	soon("6.4.2", kosme+"\xf4", "\x90", "\x80\x80edited")
	soon("6.4.3", kosme, "\xf4\x90", "\x80\x80")
	soon("6.4.4", kosme+"\xed", "\xa0", "\x80")

	// 6.5 to 6.23: Markus Kuhn's stress test.
	valid := []string{
		kosme, "\x00", "\u0080", "\u0800", "\U00010000", "\u007f", "\u07ff", "\uffff", "\ud7ff", "\ue000", "\ufffd", "\U0010ffff",
		"\ufffe", "\U0001fffe", "\U0001ffff", "\U0010fffe", "hello\u0024world", "hello\u00a2world", "hello\u20acworld", "hello\U00024b62world",
	}
	wrong := []string{
		"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf", "\xf4\x90\x80\x80",
		"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf", "\xc0 \xc1 \xc2 \xdf ", "\xe0 \xe1 \xef ", "\xf0 \xf7 ", "\xf8 \xfb ", "\xfc \xfd ",
		"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf",
		"\xfe", "\xff", "\xfe\xfe\xff\xff",
		"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf",
		"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf",
		"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80",
		"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf",
		"\xed\xa0\x80\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf", "\xe2\x82", "\xf0\x9f\x98",
	}
	for i, s := range valid {
		add(echoed(fmt.Sprintf("6 valid %d", i), F(Text, s).Bytes(), 0, F(Text, s)),
			echoed(fmt.Sprintf("6 valid %d in fragments", i), sends(fragments(Text, split(s, 1)...)...), 0, F(Text, s)))
	}
	for i, s := range wrong {
		add(failing(fmt.Sprintf("6 invalid %d", i), F(Text, s).Bytes(), 0, ws.StatusInvalidPayload),
			failing(fmt.Sprintf("6 invalid %d in fragments", i), sends(fragments(Text, split(s, 1)...)...), 0, ws.StatusInvalidPayload))
	}
	return all
}

func closeCases() []conformanceCase {
	var all []conformanceCase
	add := func(cases ...conformanceCase) { all = append(all, cases...) }
	bye := CloseFrame(ws.StatusNormal, "")
	two := fragments(Text, "fragment1", "fragment2")
	big := F(Text, strings.Repeat("BAsd7&jh23", 26<<10))
	add(
		failing("7.1.1", sends(F(Text, "Hello World!"), bye), 0, ws.StatusNormal, F(Text, "Hello World!")),
		failing("7.1.2", sends(bye, bye), 0, ws.StatusNormal),
		failing("7.1.3", sends(bye, F(Ping, "after")), 0, ws.StatusNormal),
		failing("7.1.4", sends(bye, F(Text, "after")), 0, ws.StatusNormal),
		failing("7.1.5", sends(two[0], bye, two[1]), 0, ws.StatusNormal),
		failing("7.1.6", sends(big, F(Text, "Hello World!"), bye, F(Ping, "after")), 0, ws.StatusNormal, big, F(Text, "Hello World!")),
		failing("7.3.1", F(Close, "").Bytes(), 0, ws.StatusNone),
		failing("7.3.2", F(Close, "a").Bytes(), 0, ws.StatusProtocolError),
		failing("7.3.3", bye.Bytes(), 0, ws.StatusNormal),
		failing("7.3.4", CloseFrame(ws.StatusNormal, "Hello World!").Bytes(), 0, ws.StatusNormal),
		failing("7.3.5", CloseFrame(ws.StatusNormal, strings.Repeat("*", 123)).Bytes(), 0, ws.StatusNormal),
		failing("7.3.6", CloseFrame(ws.StatusNormal, strings.Repeat("*", 124)).Bytes(), 0, ws.StatusProtocolError),
		failing("7.3.5 byte by byte", CloseFrame(ws.StatusNormal, strings.Repeat("*", 123)).Bytes(), 1, ws.StatusNormal),
		failing("7.5.1", CloseFrame(ws.StatusNormal, "\u03ba\xed\xa0\x80").Bytes(), 0, ws.StatusInvalidPayload),
	)
	for _, code := range []ws.StatusCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		add(failing(fmt.Sprintf("7.7 code %d", uint16(code)), CloseFrame(code, "").Bytes(), 0, code))
	}
	for _, code := range []ws.StatusCode{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		add(failing(fmt.Sprintf("7.9 code %d", uint16(code)), CloseFrame(code, "").Bytes(), 0, ws.StatusProtocolError))
	}
	return all
}

// runConformance plays the cases with an echo server.
func runConformance(t *testing.T, cases []conformanceCase, connect func(t testing.TB) *Client) {
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := connect(t)
			for _, step := range test.steps {
				if len(step.want) > 0 { // large ones are answered while they are sent
					go sendChopped(c, step.send, step.chop)
				} else {
					sendChopped(c, step.send, step.chop)
				}
				c.Expect(step.want...)
				if step.codes != nil {
					c.ExpectClose(step.codes...)
					return
				}
			}
			c.Bye()
		})
	}
}

func sendChopped(c *Client, b []byte, chop int) {
	if chop == 0 {
		chop = max(len(b), 1)
	}
	for part := range slices.Chunk(b, chop) {
		c.Send(part)
	}
}
