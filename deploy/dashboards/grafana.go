package main

// The part of Grafana's dashboard model (schema version 39) that is used.

type dashboard struct {
	UID           string     `json:"uid"`
	Title         string     `json:"title"`
	Tags          []string   `json:"tags"`
	SchemaVersion int        `json:"schemaVersion"`
	Editable      bool       `json:"editable"`
	GraphTooltip  int        `json:"graphTooltip"` // 1: one crosshair for all panels
	Refresh       string     `json:"refresh"`
	Time          timeRange  `json:"time"`
	Templating    templating `json:"templating"`
	Links         []link     `json:"links"`
	Panels        []panel    `json:"panels"`
}

type timeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type templating struct {
	List []variable `json:"list"`
}

type variable struct {
	Name       string      `json:"name"`
	Label      string      `json:"label"`
	Type       string      `json:"type"` // datasource, query
	Query      any         `json:"query"`
	Datasource *datasource `json:"datasource,omitempty"`
	Definition string      `json:"definition,omitempty"`
	Refresh    int         `json:"refresh"` // 2: when the time range changes
	Multi      bool        `json:"multi"`
	IncludeAll bool        `json:"includeAll"`
	AllValue   string      `json:"allValue,omitempty"`
	Sort       int         `json:"sort"`
	Current    struct{}    `json:"current"`
}

type variableQuery struct {
	Query string `json:"query"`
	RefID string `json:"refId"`
}

type link struct {
	Title       string   `json:"title"`
	Type        string   `json:"type"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type panel struct {
	ID              int              `json:"id"`
	Type            string           `json:"type"` // row, stat, timeseries, table
	Title           string           `json:"title"`
	Description     string           `json:"description,omitempty"`
	GridPos         gridPos          `json:"gridPos"`
	Datasource      *datasource      `json:"datasource,omitempty"`
	Targets         []target         `json:"targets,omitempty"`
	FieldConfig     *fieldConfig     `json:"fieldConfig,omitempty"`
	Options         any              `json:"options,omitempty"`
	Transformations []transformation `json:"transformations,omitempty"`
	Collapsed       *bool            `json:"collapsed,omitempty"`
	Panels          []panel          `json:"panels,omitempty"`
}

// gridPos is in cells; a dashboard is 24 wide.
type gridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

type target struct {
	RefID        string      `json:"refId"`
	Expr         string      `json:"expr"`
	LegendFormat string      `json:"legendFormat,omitempty"`
	Instant      bool        `json:"instant"`
	Range        bool        `json:"range"`
	Format       string      `json:"format,omitempty"`
	Datasource   *datasource `json:"datasource"`
}

type fieldConfig struct {
	Defaults  fieldDefaults `json:"defaults"`
	Overrides []struct{}    `json:"overrides"`
}

type fieldDefaults struct {
	Unit       string      `json:"unit,omitempty"`
	Min        *float64    `json:"min,omitempty"`
	Thresholds *thresholds `json:"thresholds,omitempty"`
}

type thresholds struct {
	Mode  string `json:"mode"`
	Steps []step `json:"steps"`
}

type step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"` // null: from the beginning
}

type transformation struct {
	ID      string   `json:"id"`
	Options struct{} `json:"options"`
}

type legend struct {
	DisplayMode string `json:"displayMode"`
	Placement   string `json:"placement"`
	ShowLegend  bool   `json:"showLegend"`
}

type tooltip struct {
	Mode string `json:"mode"`
	Sort string `json:"sort"`
}

type seriesOptions struct {
	Legend  legend  `json:"legend"`
	Tooltip tooltip `json:"tooltip"`
}

type reduceOptions struct {
	Calcs  []string `json:"calcs"`
	Values bool     `json:"values"`
}

type statOptions struct {
	ColorMode     string        `json:"colorMode"`
	GraphMode     string        `json:"graphMode"`
	TextMode      string        `json:"textMode"`
	ReduceOptions reduceOptions `json:"reduceOptions"`
}

// prometheus is the data source that the viewer chooses.
func prometheus() *datasource { return &datasource{Type: "prometheus", UID: "${datasource}"} }

// newDashboard lays the panels out: stats in rows of six, graphs in rows of
// three. The pods to choose from are those with the metric having.
func newDashboard(uid, title, having string, panels ...panel) dashboard {
	labels := func(name, of string) variable {
		text := "label_values(" + of + ", " + name + ")"
		return variable{
			Name: name, Label: name, Type: "query", Datasource: prometheus(), Definition: text,
			Query: variableQuery{Query: text, RefID: "variable"}, Refresh: 2, Multi: true, IncludeAll: true, AllValue: ".*", Sort: 1,
		}
	}
	return dashboard{
		UID: uid, Title: title, Tags: []string{"proofsync"}, SchemaVersion: 39, Editable: true, GraphTooltip: 1, Refresh: "30s",
		Time: timeRange{From: "now-1h", To: "now"},
		Templating: templating{List: []variable{
			{Name: "datasource", Label: "data source", Type: "datasource", Query: "prometheus", Refresh: 1},
			labels("namespace", having),
			labels("pod", having+`{namespace=~"$namespace"}`),
		}},
		Links:  []link{{Title: "proofsync", Type: "dashboards", Tags: []string{"proofsync"}, IncludeVars: true, KeepTime: true}},
		Panels: place(panels),
	}
}

func place(panels []panel) []panel {
	x, y, height := 0, 0, 0
	for i := range panels {
		p := &panels[i]
		p.ID = i + 1
		if x+p.GridPos.W > 24 || height != p.GridPos.H {
			x, y, height = 0, y+height, p.GridPos.H
		}
		p.GridPos.X, p.GridPos.Y = x, y
		x += p.GridPos.W
	}
	return panels
}

// q is a query; {{label}} in the legend is a label's value.
func q(expr, legend string) target {
	return target{Expr: expr, LegendFormat: legend, Range: true, Datasource: prometheus()}
}

// phase shows names instead of numbers.
func phase(t target) target { t.Instant, t.Range = true, false; return t }

func letters(targets []target) []target {
	for i := range targets {
		targets[i].RefID = string(rune('A' + i))
	}
	return targets
}

func row(title string) panel {
	open := false
	return panel{Type: "row", Title: title, Collapsed: &open, GridPos: gridPos{H: 1, W: 24}}
}

// good colours nothing; bad turns yellow and red from its two values on.
var good = []step{{Color: "green"}}

func bad(warn, alarm float64) []step {
	return []step{{Color: "green"}, {Color: "yellow", Value: &warn}, {Color: "red", Value: &alarm}}
}

// falling is bad the other way round: yellow and red from its two values down.
func falling(warn, alarm float64) []step {
	return []step{{Color: "red"}, {Color: "yellow", Value: &alarm}, {Color: "green", Value: &warn}}
}

func stat(title, unit string, steps []step, t target) panel {
	text := "value"
	if t.Instant {
		text = "name"
	}
	return panel{
		Type: "stat", Title: title, Datasource: prometheus(), GridPos: gridPos{H: 4, W: 4}, Targets: letters([]target{t}),
		FieldConfig: &fieldConfig{Defaults: fieldDefaults{Unit: unit, Thresholds: &thresholds{Mode: "absolute", Steps: steps}}, Overrides: []struct{}{}},
		Options:     statOptions{ColorMode: "value", GraphMode: "area", TextMode: text, ReduceOptions: reduceOptions{Calcs: []string{"lastNotNull"}}},
	}
}

func series(title, description, unit string, targets ...target) panel {
	zero := 0.0
	return panel{
		Type: "timeseries", Title: title, Description: description, Datasource: prometheus(), GridPos: gridPos{H: 8, W: 8}, Targets: letters(targets),
		FieldConfig: &fieldConfig{Defaults: fieldDefaults{Unit: unit, Min: &zero}, Overrides: []struct{}{}},
		Options:     seriesOptions{Legend: legend{DisplayMode: "list", Placement: "bottom", ShowLegend: true}, Tooltip: tooltip{Mode: "multi", Sort: "desc"}},
	}
}

func table(title string, targets ...target) panel {
	for i := range targets {
		targets[i].Instant, targets[i].Range, targets[i].Format = true, false, "table"
	}
	return panel{
		Type: "table", Title: title, Datasource: prometheus(), GridPos: gridPos{H: 8, W: 12}, Targets: letters(targets),
		FieldConfig: &fieldConfig{Overrides: []struct{}{}}, Transformations: []transformation{{ID: "merge"}},
	}
}
