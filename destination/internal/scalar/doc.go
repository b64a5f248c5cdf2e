// Package scalar reads numbers, dates and timestamps from the text of a JSON value
// and says whether the value could be kept. Each kind has two functions: Plain…
// reads the usual form in place, a few bytes at a time, and gives up at any other;
// Parse… accepts every form. It does no I/O and does not allocate.
package scalar
