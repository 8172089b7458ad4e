// Package golang makes a program of a Go app: of an exported name in a package, known by
// its path as in ./chat.App or example.com/me/chat.App.
//
// [Build] makes the program that a worker executes in its own place. It is kept in the
// user's cache by the content of what went into it, and found there again without asking
// the go command anything: [Build] remembers what it has read, and looks whether that has
// changed. [BuildFile] makes a program to be copied elsewhere.
//
// # How
//
// The program is a package main of a few lines that calls package server with the app.
// Neither the user's files nor their folders are touched:
//
//   - The main lies, by the go command's -overlay, in a folder below the app's package, so
//     that it may import what is internal there, and is part of the app's module: the
//     program bears that module's version.
//   - A go.work of ours joins the modules of the app with chaussette: with the version
//     that they require, else with the version or the checkout of the chaussette that
//     runs. The app's module keeps the version of the language that its go.mod names.
//   - What the app's module has in its vendor folder is taken from there.
//
// What the app's type may be is the table in shape.go.
package golang
