package engineio

import (
	"encoding/json"
	"net/url"
	"strings"
)

// JSONP is for pages that may not make requests to our host but may load scripts from it:
// a poll is answered with a call of a function, and a POST is a form.

// jsonp wraps body for function number j of the client. Of j only digits are used: the
// rest could be a script.
func jsonp(body []byte, j string) []byte {
	return append(append([]byte("___eio["+digits(j)+"]("), quote(body)...), ");"...)
}

func jsonp09(body []byte, i string) []byte {
	return append(append([]byte("io.j["+digits(i)+"]("), quote(body)...), ");"...)
}

// quote is body as a string of JavaScript. encoding/json escapes what HTML and old
// browsers stumble over, U+2028 and U+2029 among it.
func quote(body []byte) []byte {
	quoted, _ := json.Marshal(string(body))
	return quoted
}

func digits(s string) string {
	var b strings.Builder
	for _, c := range s {
		if c >= '0' && c <= '9' && b.Len() < 20 {
			b.WriteRune(c)
		}
	}
	if b.Len() == 0 {
		return "0"
	}
	return b.String()
}

// fromForm takes the payload out of a form. Browsers change line ends in forms; so the
// client sends \n as backslash n, and a backslash before n as two.
func fromForm(body []byte, revision Revision) ([]byte, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil || !values.Has("d") {
		return nil, errPayload
	}
	d := values.Get("d")
	if revision == Revision09 {
		// There it is a JSON string.
		if strings.HasPrefix(d, `"`) {
			var s string
			if err := json.Unmarshal([]byte(d), &s); err != nil {
				return nil, errPayload
			}
			d = s
		}
		return []byte(d), nil
	}
	var b strings.Builder
	for i := 0; i < len(d); i++ {
		switch {
		case strings.HasPrefix(d[i:], `\\n`):
			b.WriteString(`\n`)
			i += 2
		case strings.HasPrefix(d[i:], `\n`):
			b.WriteByte('\n')
			i++
		default:
			b.WriteByte(d[i])
		}
	}
	return []byte(b.String()), nil
}
