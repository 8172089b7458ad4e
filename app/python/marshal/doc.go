// Package marshal reads and writes the part of Python's marshal format that the pipe to
// a Python child carries: None, booleans, 32 bit integers, str, bytes, tuple, list, dict.
//
// One call of marshal.loads turns such bytes into ready objects, which is why the pipe
// uses it. Python promises nothing about the format between its versions, so whoever
// speaks it proves a known value with the child first. The bytes written are understood
// by version 2 of the format and later; Decode reads up to version 4, references included
// (CPython, Python/marshal.c). Both ends of a pipe trust one another, yet Decode survives
// any input.
//
// WSGI strings hold one byte a character (PEP 3333, "A Note On String Types"). AppendLatin1
// writes the bytes of a Go string as such, Value.Latin1 reads them back.
package marshal
