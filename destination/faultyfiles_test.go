package main

import (
	"errors"
	"io"
	"io/fs"

	iceio "github.com/apache/iceberg-go/io"
)

// localFiles is what storage gives the library for local files.
type localFiles interface {
	iceio.RemoveAllIO // what check removes in the end is not made to fail
	iceio.WriteFileIO
	iceio.ReadFileIO
	iceio.ListableIO
	CreateScratch(name string) (iceio.FileWriter, error)
	ReplaceFile(name string, content []byte) error
}

// faultyFiles makes calls of a file system fail.
type faultyFiles struct {
	localFiles
	faults *faults
}

func (f faultyFiles) Open(name string) (file iceio.File, err error) {
	err = f.faults.file("Open", name, func() error {
		file, err = f.localFiles.Open(name)
		return err
	})
	return faultyReader{file, name, f.faults}, err
}

func (f faultyFiles) ReadFile(name string) (content []byte, err error) {
	err = f.faults.file("ReadFile", name, func() error {
		content, err = f.localFiles.ReadFile(name)
		return err
	})
	return content, err
}

func (f faultyFiles) Create(name string) (iceio.FileWriter, error) {
	return f.create("Create", name, f.localFiles.Create)
}

func (f faultyFiles) CreateScratch(name string) (iceio.FileWriter, error) {
	return f.create("CreateScratch", name, f.localFiles.CreateScratch)
}

func (f faultyFiles) create(call, name string, create func(string) (iceio.FileWriter, error)) (w iceio.FileWriter, err error) {
	err = f.faults.file(call, name, func() error {
		w, err = create(name)
		return err
	})
	if err != nil {
		if w != nil {
			_ = w.Close()
		}
		return nil, err
	}
	return faultyWriter{w, name, f.faults}, nil
}

func (f faultyFiles) WriteFile(name string, content []byte) error {
	w, err := f.Create(name)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return errors.Join(err, w.Close())
}

func (f faultyFiles) ReplaceFile(name string, content []byte) error {
	return f.faults.file("ReplaceFile", name, func() error { return f.localFiles.ReplaceFile(name, content) })
}

func (f faultyFiles) Remove(name string) error {
	return f.faults.file("Remove", name, func() error { return f.localFiles.Remove(name) })
}

func (f faultyFiles) WalkDir(root string, do fs.WalkDirFunc) error {
	return f.faults.file("WalkDir", root, func() error { return f.localFiles.WalkDir(root, do) })
}

type faultyReader struct {
	iceio.File
	name   string
	faults *faults
}

func (r faultyReader) Read(p []byte) (n int, err error) {
	err = r.faults.file("Read", r.name, func() error {
		n, err = r.File.Read(p)
		return err
	})
	return n, err
}

func (r faultyReader) ReadAt(p []byte, at int64) (n int, err error) {
	err = r.faults.file("Read", r.name, func() error {
		n, err = r.File.ReadAt(p, at)
		return err
	})
	return n, err
}

type faultyWriter struct {
	iceio.FileWriter
	name   string
	faults *faults
}

// Write writes half when it fails before its effect.
func (w faultyWriter) Write(p []byte) (n int, err error) {
	err = w.faults.file("Write", w.name, func() error {
		n, err = w.FileWriter.Write(p)
		return err
	})
	if err != nil && n == 0 {
		n, _ = w.FileWriter.Write(p[:len(p)/2])
	}
	return n, err
}

func (w faultyWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w}, r)
}

// Close closes the file also when it fails, as the system does.
func (w faultyWriter) Close() (err error) {
	closed := false
	err = w.faults.file("Close", w.name, func() error {
		closed = true
		return w.FileWriter.Close()
	})
	if !closed {
		_ = w.FileWriter.Close()
	}
	return err
}
