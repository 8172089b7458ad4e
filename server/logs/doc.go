// Package logs writes a worker's log: [Handler] in the format that Chaussette has
// always had,
//
//	2012-05-30 17:28:41 [4021] [INFO] Serving on fd://3
//
// and [File], which is opened again when the log has been rotated.
package logs
