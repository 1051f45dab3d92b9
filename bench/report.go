package main

import (
	"bytes"
	_ "embed"
	"html/template"
)

// The report is one file that needs no other: styles and pictures are in it, and
// it has no script.
//
//go:embed report.html.tmpl
var reportText string

var reportTemplate = template.Must(template.New("report").Parse(reportText))

// render returns the report as a page of HTML.
func render(res *results) ([]byte, error) {
	page := struct {
		*results
		CostTables, BehaviourTables []table
		BehaviourNote, CostAdvice   string
		TracePictures               []picture
		CostPictures                []picture
	}{
		results:         res,
		BehaviourTables: behaviourTables(res),
		BehaviourNote:   behaviourNote(res),
		CostAdvice:      adviseCost(res.Cost),
	}
	var err error
	if page.TracePictures, err = drawBehaviour(res); err != nil {
		return nil, err
	}
	if res.Cost != nil {
		page.CostTables = append(res.Cost.tables(), goalTable(res))
		if page.CostPictures, err = drawCost(res.Cost); err != nil {
			return nil, err
		}
	}
	if res.Keyed != nil {
		page.CostTables = append(page.CostTables, append(res.Keyed.tables(), res.Keyed.goalTable())...)
		p, err := drawGrowth(&res.Keyed.Growth)
		if err != nil {
			return nil, err
		}
		page.CostPictures = append(page.CostPictures, p)
	}
	if res.HTTP != nil {
		page.CostTables = append(page.CostTables, res.HTTP.table())
	}
	var b bytes.Buffer
	err = reportTemplate.Execute(&b, page)
	return b.Bytes(), err
}
