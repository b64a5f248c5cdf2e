package tokens

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
)

// WriteFile writes a file and returns when it is durable: whoever reads sees
// what stood there before or the new content, and the new content survives a
// loss of power. Where path is a symbolic link, the file it leads to is
// replaced. A file that is there keeps its owner, group and mode; a new one can
// be read by its owner only.
func WriteFile(path string, data []byte) error {
	target, err := resolve(path)
	if err != nil {
		return err
	}
	return replaceFile(target, data, otherMark)
}

// CheckWritable reports why WriteFile could not write to path. A file that is
// there is replaced by a copy of itself, since nothing less shows that it can be.
func CheckWritable(path string) error {
	target, err := resolve(path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(target)
	if err == nil {
		return replaceFile(target, data, otherMark)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(target), pendingName(target, otherMark))
	if err != nil {
		return explainReplace(target, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// resolve returns the file that a path leads to, through symbolic links, which
// need not be there yet: one file has one lock, whatever way leads to it. A file
// with a second name has none that is right, and what is no file cannot be
// replaced.
func resolve(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, lerr := os.Lstat(path); lerr == nil {
			return "", errors.New("it is a symbolic link that leads nowhere; put the file where it leads, or give the file's own path")
		}
		dir, derr := filepath.EvalSymlinks(filepath.Dir(path))
		if derr != nil {
			return "", explainReplace(path, derr)
		}
		return filepath.Join(dir, filepath.Base(path)), nil
	}
	if err != nil {
		return "", explainRead(err)
	}
	info, err := os.Stat(target)
	switch {
	case err != nil:
		return "", withoutPath(err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("it is a %s; give the path of a file", kindOf(info.Mode()))
	}
	links, err := osfile.Links(target)
	switch {
	case err != nil:
		return "", withoutPath(err)
	case links > 1:
		return "", fmt.Errorf("the file has %d names (hard links), of which a new pair would reach one; remove the others, or make them symbolic links", links)
	}
	return target, nil
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory, as Docker makes where there is no file to mount"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// otherMark is the mark of a file without a new pair.
const otherMark = "file"

// pendingName is the pattern of names of files that are written to take a file's
// place: the mark, which has no hyphen, says what they replace.
func pendingName(target, mark string) string {
	return "." + filepath.Base(target) + "-" + mark + "-*.new"
}

// pendingMark returns the mark in such a name, and false for any other.
func pendingMark(target, name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, "."+filepath.Base(target)+"-")
	number, isNew := strings.CutSuffix(rest, ".new")
	mark, number, hasMark := strings.Cut(number, "-")
	// Another hyphen belongs to the name of another file, which begins like this one's.
	return mark, ok && isNew && hasMark && !strings.Contains(number, "-")
}

// replaceFile is WriteFile for what resolve has found. Until the new file is in
// place its name has the mark. If it cannot be put there, one with a new pair stays for
// recoverPair.
func replaceFile(target string, data []byte, mark string) error {
	dir := filepath.Dir(target)
	tmp, err := os.CreateTemp(dir, pendingName(target, mark)) // with mode 0600
	if err != nil {
		return explainReplace(target, err)
	}
	if info, serr := os.Stat(target); serr == nil {
		err = keepOwner(tmp, info, info.Mode().Perm())
	} else if !errors.Is(serr, fs.ErrNotExist) {
		err = serr
	}
	if err == nil {
		_, err = tmp.Write(data)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		if err = osfile.Rename(tmp.Name(), target); err != nil && mark != otherMark {
			return explainReplace(target, err)
		}
	}
	if err != nil {
		return errors.Join(explainReplace(target, err), os.Remove(tmp.Name()))
	}
	return osfile.SyncDir(dir)
}

// explainRead says why a file cannot be read, without its path.
func explainRead(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the user of this process, %s, may not read it; allow that (%w)", osfile.User(), withoutPath(err))
	}
	return withoutPath(err)
}

// explainReplace says why a file cannot be replaced, and what to do about it.
func explainReplace(target string, err error) error {
	dir := filepath.Dir(target)
	switch {
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("it is mounted by itself and so cannot be replaced; mount its directory instead (%w)", err)
	case osfile.ReadOnly(err):
		return fmt.Errorf("its directory %s is read-only; mount it writable (%w)", dir, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the user of this process, %s, may not make files in its directory %s, which is needed to replace it; allow that (%w)", osfile.User(), dir, err)
	case osfile.NoSpace(err):
		return fmt.Errorf("there is no space left in its directory %s; free some (%w)", dir, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("its directory %s does not exist; make it (%w)", dir, err)
	}
	return err
}
