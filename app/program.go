package app

// Program is an app that was made into a program of its own, as Go apps are. It takes the
// arguments of the chaussette command that was asked for the app.
type Program struct {
	Path string
	// Folders are those with its sources: a change in one may make another program.
	Folders []string
}
