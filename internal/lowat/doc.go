// Package lowat has the system tell of a TCP connection when so and so much has come, and not
// before (SO_RCVLOWAT, socket(7), tcp(7)): whoever waits for it wakes up once, and what has come
// lies in the socket's receive buffer, for which the system makes room. Linux alone does all that.
package lowat
