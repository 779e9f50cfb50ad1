// Package golden keeps storage directories as earlier versions wrote them, in
// testdata/v1 and so on: one folder for each disk format that is still read. Its
// tests open copies of all of them with the code at hand, read everything, check
// it, prove it and go on writing. docs/COMPATIBILITY.md says what is promised.
//
// Folders of a format that was released are never written again. Those of the
// newest format, before it is, are made by
//
//	go test ./test/golden -update
package golden
