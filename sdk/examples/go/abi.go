package main

// The canonical ABI of `tenure:policy/select@0.1.0` and `lifecycle`, by hand: Go's own compiler lays its records out for 64 bits,
// so each record is read and written at the offsets of the contract. An instance lives for one decision; nothing is freed.

import "unsafe"

// What rank needs of the candidates; the others lie at the offsets between.
type columns struct {
	family []uint32
	free   []uint64
	bits   []uint32
}

// Offsets into the record of both parameters: the request has 112 bytes, then come twelve lists.
const (
	atFamilies = 88
	atFamily   = 112 + 8*1
	atFree     = 112 + 8*2
	atBits     = 112 + 8*10
)

// Keeps what the host was given addresses of from the collector.
var kept []any

//go:wasmexport cabi_realloc
func realloc(old, oldSize, align, size uint32) uint32 {
	if size == 0 {
		return align
	}
	// Of words, so that the address is a multiple of eight.
	words := make([]uint64, (size+7)/8)
	kept = append(kept, words)
	return address(unsafe.Pointer(&words[0]))
}

//go:wasmexport tenure:policy/lifecycle@0.1.0#describe
func describe() uint32 {
	return record(text("emptiest-go"), text("0.1.0"), text(schema), [2]uint32{})
}

// No error.
//
//go:wasmexport tenure:policy/lifecycle@0.1.0#validate-settings
func validateSettings(at, size uint32) uint32 { return record([2]uint32{}) }

// Done: there is nothing to set.
//
//go:wasmexport tenure:policy/lifecycle@0.1.0#init
func start(at, size uint32) uint32 { return record([2]uint32{}, [2]uint32{}) }

//go:wasmexport tenure:policy/select@0.1.0#select
func selectPools(parameters uint32) uint32 {
	const done, abstain, ranked = 0, 0, 1
	rows := rank(*at[uint32](parameters + atFamilies), columns{
		family: list[uint32](parameters + atFamily),
		free:   list[uint64](parameters + atFree),
		bits:   list[uint32](parameters + atBits),
	})
	if len(rows) == 0 {
		return record([2]uint32{done, abstain}, [2]uint32{}, [2]uint32{})
	}
	kept = append(kept, rows)
	return record([2]uint32{done, ranked}, [2]uint32{address(unsafe.Pointer(&rows[0])), uint32(len(rows))}, [2]uint32{})
}

func at[T any](address uint32) *T { return (*T)(unsafe.Pointer(uintptr(address))) }

func list[T any](field uint32) []T {
	head := at[[2]uint32](field)
	if head[1] == 0 {
		return nil
	}
	return unsafe.Slice(at[T](head[0]), head[1])
}

func text(text string) [2]uint32 {
	return [2]uint32{address(unsafe.Pointer(unsafe.StringData(text))), uint32(len(text))}
}

func record(pairs ...[2]uint32) uint32 {
	kept = append(kept, pairs)
	return address(unsafe.Pointer(&pairs[0]))
}

func address(pointer unsafe.Pointer) uint32 { return uint32(uintptr(pointer)) }
