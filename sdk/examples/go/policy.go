// A policy in Go: pools of the holder's zone first, then the one with the most free addresses.
package main

import "sort"

const schema = `{"type": "object", "additionalProperties": false}`

const (
	inZone = 2
	most   = 8
)

// A package of a reactor has no use of it.
func main() {}

// rank says which rows, best first; none is "no opinion".
func rank(families uint32, candidates columns) []uint32 {
	var ranked []uint32
	for bit, family := range []uint32{4, 6} {
		if families>>bit&1 == 0 {
			continue
		}
		var rows []uint32
		for row, of := range candidates.family {
			if of == family {
				rows = append(rows, uint32(row))
			}
		}
		sort.SliceStable(rows, func(a, b int) bool {
			x, y := rows[a], rows[b]
			if zone := candidates.bits[x]&inZone - candidates.bits[y]&inZone; zone != 0 {
				return candidates.bits[x]&inZone != 0
			}
			return candidates.free[x] > candidates.free[y]
		})
		ranked = append(ranked, rows[:min(len(rows), most)]...)
	}
	return ranked
}
