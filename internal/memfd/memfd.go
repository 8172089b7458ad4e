// Package memfd makes files that live in memory alone and have a name in no folder
// (memfd_create(2)). Another process gets one by its descriptor.
package memfd

import "os"

// Create returns a file of size bytes, all zero, open for reading and writing; memory is
// taken as it is written to. name is what /proc shows it by. The descriptor is closed on
// exec. errors.ErrUnsupported: the system is not Linux; a kernel that refuses is an
// os.SyscallError.
func Create(name string, size int64) (*os.File, error) {
	file, err := create(name)
	if err != nil {
		return nil, err
	}
	if err := file.Truncate(size); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
