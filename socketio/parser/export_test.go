package parser

var Scan = scan
