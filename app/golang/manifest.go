package golang

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// manifest is what a program in the cache was made of, so that the next start can tell
// without the go command whether it is still the one.
type manifest struct {
	Program string // its file's name in the cache
	Go      input  // the go command that made it
	Inputs  []input
	Folders []string // of the sources that are not in the module cache
}

// input is a file, a folder's list of names, or the absence of both. The size and time of
// a file that has not been touched spare reading it.
type input struct {
	Path string
	Kind inputKind
	Size int64     `json:",omitzero"`
	Time time.Time `json:",omitzero"`
	// Sum is of the content, or of the folder's names.
	Sum string `json:",omitzero"`
	// Young: when it was read, it had just been written. A second write may have left the
	// same size and, as file systems count time in steps, the same time.
	Young bool `json:",omitzero"`
}

type inputKind string

const (
	inputFile    inputKind = "file"
	inputSources inputKind = "sources" // a folder, of which the names of sources matter
	inputFolder  inputKind = "folder"  // a folder, of which all names matter
	inputAbsent  inputKind = "absent"
)

// young is how long the times of file systems may lag.
const young = 2 * time.Second

// read takes the input's state from the file system.
func (in *input) read() error {
	info, err := os.Stat(in.Path)
	if in.Kind == inputAbsent {
		if err == nil {
			return errChanged
		}
		return nil
	}
	if err != nil {
		return err
	}
	in.Size, in.Time = info.Size(), info.ModTime()
	in.Young = time.Since(in.Time) < young
	if in.Kind == inputFile {
		text, err := os.ReadFile(in.Path)
		if err != nil {
			return err
		}
		in.Sum = sum(text)
		return nil
	}
	in.Size = 0 // of a folder it says nothing
	names, err := namesIn(in.Path, in.Kind == inputSources)
	in.Sum = sum([]byte(strings.Join(names, "\x00")))
	return err
}

var errChanged = errors.New("has changed")

// unchanged tells whether the input is what it was, by its content where it was touched.
// What was read is noted: the next time it need not be.
func (in *input) unchanged() bool {
	info, err := os.Stat(in.Path)
	if in.Kind == inputAbsent {
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
	}
	if err != nil || info.IsDir() != (in.Kind != inputFile) {
		return false
	}
	if in.Kind == inputFile && info.Size() != in.Size {
		return false
	}
	if info.ModTime().Equal(in.Time) && !in.Young {
		return true
	}
	now := *in
	if now.read() != nil || now.Sum != in.Sum {
		return false
	}
	*in = now
	return true
}

// namesIn are the names in a folder; sources: of those files and folders that the go
// command may look at.
func namesIn(folder string, sources bool) ([]string, error) {
	entries, err := os.ReadDir(folder)
	var names []string
	for _, e := range entries {
		if sources && (!isSource(e.Name()) || e.IsDir()) {
			continue
		}
		names = append(names, e.Name())
	}
	return names, err
}

func isSource(name string) bool {
	switch filepath.Ext(name) {
	case ".go", ".c", ".cc", ".cpp", ".cxx", ".m", ".h", ".hh", ".hpp", ".hxx", ".f", ".F", ".for", ".f90", ".s", ".S", ".sx",
		".swig", ".swigcxx", ".syso":
		return true
	}
	return name == "go.mod"
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

// inputsOf are the inputs of the packages, and the folders of those that may change: all
// but the standard library, which the go command stands for, and the module cache, whose
// content go.sum vouches for.
func inputsOf(all []*listedPackage, modcache, scratch string) (inputs []input, folders []string) {
	for _, p := range all {
		if p.Standard || p.Dir == "" || inside(p.Dir, modcache) || inside(p.Dir, scratch) {
			continue
		}
		folders = append(folders, p.Dir)
		for _, name := range p.files() {
			inputs = append(inputs, input{Path: filepath.Join(p.Dir, name), Kind: inputFile})
		}
		if len(p.EmbedPatterns) == 0 {
			inputs = append(inputs, input{Path: p.Dir, Kind: inputSources})
		} else {
			inputs = append(inputs, embedded(p)...)
		}
		// A go.mod that appears above the package makes another module of it.
		if p.Module != nil && inside(p.Dir, p.Module.Dir) {
			for f := p.Dir; f != p.Module.Dir && f != filepath.Dir(f); f = filepath.Dir(f) {
				inputs = append(inputs, input{Path: filepath.Join(f, "go.mod"), Kind: inputAbsent})
			}
		}
	}
	return inputs, folders
}

// embedded are the folders in which a new name may match a pattern of go:embed.
func embedded(p *listedPackage) []input {
	inputs := []input{{Path: p.Dir, Kind: inputFolder}}
	roots := map[string]bool{}
	for _, pattern := range p.EmbedPatterns {
		first, _, deeper := strings.Cut(strings.TrimPrefix(pattern, "all:"), "/")
		if !strings.ContainsAny(first, `*?[\`) {
			roots[first] = true
			continue
		}
		entries, _ := os.ReadDir(p.Dir)
		for _, e := range entries {
			if ok, _ := filepath.Match(first, e.Name()); ok && (e.IsDir() || deeper) {
				roots[e.Name()] = true
			}
		}
	}
	for root := range roots {
		_ = filepath.WalkDir(filepath.Join(p.Dir, root), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				inputs = append(inputs, input{Path: path, Kind: inputFolder})
			}
			return nil
		})
	}
	return inputs
}

// moduleInputs are the files by which the go command finds and reads the modules for a
// package in the folder: those that there are, and those that would come first.
func moduleInputs(folder string, s *settings, m *modules) []input {
	paths := map[string]bool{}
	for f := folder; ; f = filepath.Dir(f) {
		paths[filepath.Join(f, "go.work")] = true
		paths[filepath.Join(f, "go.mod")] = true
		if f == filepath.Dir(f) {
			break
		}
	}
	for _, main := range m.list {
		paths[filepath.Join(main.folder, "go.mod")] = true
		paths[filepath.Join(main.folder, "go.sum")] = true
		paths[filepath.Join(main.folder, "vendor", "modules.txt")] = true
	}
	if s.GOWORK != "" {
		paths[s.GOWORK] = true
		paths[s.GOWORK+".sum"] = true
		paths[filepath.Join(filepath.Dir(s.GOWORK), "vendor", "modules.txt")] = true
	}
	if s.GOENV != "" && s.GOENV != "off" {
		paths[s.GOENV] = true
	}
	if executable, err := os.Executable(); err == nil {
		paths[executable] = true // another chaussette may write another main
	}
	var inputs []input
	for path := range paths {
		in := input{Path: path, Kind: inputAbsent}
		if _, err := os.Stat(path); err == nil {
			in.Kind = inputFile
		}
		inputs = append(inputs, in)
	}
	return inputs
}

func inside(path, folder string) bool {
	return folder != "" && (path == folder || strings.HasPrefix(path, folder+string(filepath.Separator)))
}

// readAll reads the inputs, in an order of their own, each once.
func readAll(inputs []input) ([]input, error) {
	slices.SortFunc(inputs, func(a, b input) int {
		return strings.Compare(a.Path+"\x00"+string(a.Kind), b.Path+"\x00"+string(b.Kind))
	})
	inputs = slices.CompactFunc(inputs, func(a, b input) bool { return a.Path == b.Path && a.Kind == b.Kind })
	for i := range inputs {
		if err := inputs[i].read(); err != nil {
			return nil, fmt.Errorf("%s: %w", inputs[i].Path, err)
		}
	}
	return inputs, nil
}

// fresh tells whether all is as it was.
func (m *manifest) fresh() bool {
	for i := range m.Inputs {
		if !m.Inputs[i].unchanged() {
			return false
		}
	}
	return true
}

func readManifest(path string) (*manifest, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := new(manifest)
	return m, json.Unmarshal(text, m)
}

func (m *manifest) write(path string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return writeFile(path, text)
}

// writeFile writes a file that others find whole, or as it was.
func writeFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
