package python

import (
	"embed"
	"fmt"
	"path"
)

//go:embed runner/*.py
var runnerFiles embed.FS

// modules are the runner's, each after those that it imports.
var modules = []string{"heads", "lent", "bursts", "pipe", "wsgi", "loading", "scheduling", "threads", "greens", "tornadoes", "main"}

// bootCode runs the boot module, which is the first thing on the pair.
func bootCode() (command string, preamble []byte) {
	boot := mustRead("boot")
	preamble = append(preamble, boot...)
	for _, name := range modules {
		preamble = appendFrame(preamble, kindModule, 0, append([]byte(name+"\n"), mustRead(name)...))
	}
	return fmt.Sprintf("import os;exec(os.read(3,%d))", len(boot)), preamble
}

func mustRead(name string) []byte {
	data, err := runnerFiles.ReadFile(path.Join("runner", name+".py"))
	if err != nil {
		panic(err) // embedded: it is there
	}
	return data
}
