package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// documents are what an archive has besides the programs.
var documents = []string{"LICENSE", "README.md", "CHANGELOG.md", "docs", "deploy"}

// archives makes an archive for each platform, and SHA256SUMS.
func (r release) archives(ctx context.Context, directory string, of []platform) error {
	var names []string
	for _, p := range of {
		name, err := r.archive(ctx, directory, p)
		if err != nil {
			return fmt.Errorf("for %s: %w", p, err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	var sums strings.Builder
	for _, name := range names {
		sum, size, err := digest(filepath.Join(directory, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sum, name)
		fmt.Fprintf(os.Stderr, "%s: %d.%d MB\n", name, size/1_000_000, size/100_000%10)
	}
	return os.WriteFile(filepath.Join(directory, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

func digest(file string) (sum []byte, size int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	hash := sha256.New()
	size, err = io.Copy(hash, f)
	return hash.Sum(nil), size, err
}

// archive makes the archive for a platform and returns its name.
func (r release) archive(ctx context.Context, directory string, p platform) (name string, err error) {
	work, err := os.MkdirTemp("", "dist-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	root := fmt.Sprintf("whoop-iceberg-%s-%s-%s", r.version, p.system, p.architecture)
	if err := r.programs(ctx, work, p); err != nil {
		return "", err
	}
	var files []entry
	for _, from := range append([]string{work}, documents...) {
		under := root
		if from != work {
			under = path.Join(root, from)
		}
		more, err := entries(from, under)
		if err != nil {
			return "", err
		}
		files = append(files, more...)
	}
	slices.SortFunc(files, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	write := writeTar
	name = root + ".tar.gz"
	if p.system == "windows" {
		write, name = writeZip, root+".zip"
	}
	out, err := os.Create(filepath.Join(directory, name))
	if err != nil {
		return "", err
	}
	return name, errors.Join(write(out, files, r.time), out.Close())
}

// An entry is a file that goes into an archive.
type entry struct {
	file, name string
	mode       fs.FileMode // 0o755 for what can be run
}

// entries are the files at or below a path, with their names under another.
func entries(from, under string) (found []entry, err error) {
	err = filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		inside, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		one := entry{file: file, name: path.Join(under, filepath.ToSlash(inside)), mode: 0o644}
		base := strings.TrimSuffix(path.Base(one.name), ".exe")
		if slices.Contains(programNames, base) || strings.HasSuffix(base, ".sh") {
			one.mode = 0o755
		}
		found = append(found, one)
		return nil
	})
	return found, err
}

func writeTar(out io.Writer, files []entry, at time.Time) error {
	zipped, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zipped)
	for _, e := range files {
		info, err := os.Stat(e.file)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: e.name, Size: info.Size(), Mode: int64(e.mode), ModTime: at, Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if err := copyFile(archive, e.file); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}

func writeZip(out io.Writer, files []entry, at time.Time) error {
	archive := zip.NewWriter(out)
	for _, e := range files {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: at}
		header.SetMode(e.mode)
		file, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if err := copyFile(file, e.file); err != nil {
			return err
		}
	}
	return archive.Close()
}

func copyFile(to io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(to, f)
	return err
}
