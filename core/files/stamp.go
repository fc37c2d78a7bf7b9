package files

import "io/fs"

// Stamp tells whether a file may have been changed or replaced, without reading it. Times are in nanoseconds
// since 1970. CTime, the time of the last change of whatever kind, cannot be set back by programs such as cp -p
// and rsync -t; it is 0 on systems that do not tell it.
type Stamp struct {
	Size, MTime, CTime int64
	Inode              uint64
}

// StampOf returns the stamp of a file.
func StampOf(info fs.FileInfo) Stamp {
	s := Stamp{Size: info.Size(), MTime: info.ModTime().UnixNano(), CTime: changeTime(info)}
	_, s.Inode = deviceInode(info)
	return s
}
