package filenames

import "testing"

func TestPathsOfWindows(t *testing.T) {
	for _, test := range []struct{ location, plain, local string }{
		{"file:///C:/lake/whoop.db", "/C:/lake/whoop.db", `C:\lake\whoop.db`},
		{"file:///c:/lake", "/C:/lake", `c:\lake`},
		{`C:\lake\whoop.db\`, "/C:/lake/whoop.db", `C:\lake\whoop.db\`},
		{"C:/lake/./whoop.db", "/C:/lake/whoop.db", "C:/lake/./whoop.db"},
		{`d:\`, "/D:", `d:\`},
		{"file:///C:", "/C:", "C:"},
		{"/C:/lake/%20.parquet", "/C:/lake/%20.parquet", `C:\lake\%20.parquet`},
		{"file:///lake", "/lake", "/lake"},
		{"file:", ".", ""},
		{"s3a://c/lake/x", "s3://c/lake/x", "s3a://c/lake/x"},
	} {
		if got := plain(test.location, true); got != test.plain {
			t.Errorf("%s: the plain path is %s, want %s", test.location, got, test.plain)
		}
		if got := local(test.location, true); got != test.local {
			t.Errorf("%s: the local path is %s, want %s", test.location, got, test.local)
		}
	}
	for location, want := range map[string]string{"file:///c:/lake": "/c:/lake", "c:/lake": "c:///lake", "/lake/": "/lake"} {
		if got := plain(location, false); got != want {
			t.Errorf("%s: elsewhere the plain path is %s, want %s", location, got, want)
		}
	}
}
