package member

// A sport as WHOOP names it. The list of slugs is open: the last ones are in no
// published table.
type sport struct {
	name    string
	id      int
	outside bool // has a distance and an altitude
}

var sports = []sport{
	{"running", 0, true},
	{"cycling", 1, true},
	{"weightlifting", 45, false},
	{"walking", 63, true},
	{"yoga", 44, false},
	{"functional-fitness", 48, false},
	{"hiking-rucking", 52, true},
	{"weightlifting_msk", 123, false},
	{"swimming", 33, false},
	{"rowing", 18, false},
	{"tennis", 34, false},
	{"soccer", 30, false},
	{"rock-climbing", 60, false},
	{"hiit", 96, false},
	{"spin", 97, false},
	{"skiing", 29, true},
	{"meditation", 70, false},
	{"sauna", 233, false},
	{"ice-bath", 88, false},
	{"padel", 249, false},
	{"dog-walking", 266, true},
	{"activity", -1, false},
	{"muay-thai", 301, false},
	{"hot_tub", 302, false},
	{"underwater-hockey", 987, false},
}
