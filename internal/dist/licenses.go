package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// licenseTexts is a document with the licences and notices of the parts of a program. A text
// that several have in common is there once.
func licenseTexts(name string, parts []part) []byte {
	var texts []string
	users := map[string][]string{}
	for _, p := range parts {
		for _, l := range p.licenses {
			if users[l.text] == nil {
				texts = append(texts, l.text)
			}
			if user := p.path + " " + p.version; !slices.Contains(users[l.text], user) {
				users[l.text] = append(users[l.text], user)
			}
		}
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "The program %s consists of its own code, which the file LICENSE is for, of Go's standard library (std)\n"+
		"and of the modules and packages below. These are their licences and notices, each after those that it applies to.\n", name)
	for _, text := range texts {
		fmt.Fprintf(&out, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 100), strings.Join(users[text], "\n"), text)
	}
	return out.Bytes()
}

// A license is a text that has to be passed on with a program.
type license struct {
	id   string // of SPDX; "" for a notice
	text string
}

var licenseName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([._-].*)?$`)

// licensesIn reads the licence files in the directory of a module, and in those of its
// packages and the directories between them. There must be a licence among them.
func licensesIn(module string, packages []string) (found []license, err error) {
	dirs := []string{module}
	for _, dir := range packages {
		for ; len(dir) > len(module) && !slices.Contains(dirs, dir); dir = filepath.Dir(dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if !entry.Type().IsRegular() || !licenseName.MatchString(entry.Name()) || strings.HasSuffix(entry.Name(), ".go") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
			if err != nil {
				return nil, err
			}
			one := license{text: strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))}
			if one.id = identify(one.text); one.id == "" && !isNotice(entry.Name()) {
				return nil, fmt.Errorf("%s is a licence that is not known: see whether its terms can be kept, and add it to identify", filepath.Join(dir, entry.Name()))
			}
			found = append(found, one)
		}
	}
	if !slices.ContainsFunc(found, func(l license) bool { return l.id != "" }) {
		return nil, fmt.Errorf("no licence is in %s", module)
	}
	return found, nil
}

// isNotice reports whether a file with the name of a licence is none: it goes with one, or is
// that of a picture.
func isNotice(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "notice") || strings.HasPrefix(name, "patents") || name == "license-logo"
}

// identify returns the SPDX identifier of a licence whose terms are kept by passing on its
// text; "" for any other.
func identify(text string) string {
	words := strings.Join(strings.Fields(text), " ")
	for _, known := range []struct{ id, phrase string }{
		{"MPL-2.0", "Mozilla Public License Version 2.0"},
		{"MPL-2.0", "Mozilla Public License, version 2.0"},
		{"Apache-2.0", "Apache License Version 2.0, January 2004"},
		{"Apache-2.0", "Licensed under the Apache License, Version 2.0"},
		{"BSD-3-Clause", "may be used to endorse or promote products derived from"},
		{"BSD-2-Clause", "Redistribution and use in source and binary forms"},
		{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
		{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"},
		{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose with or without fee"},
		{"blessing", "SQLite Is Public Domain"},
	} {
		if strings.Contains(words, known.phrase) {
			return known.id
		}
	}
	return ""
}
