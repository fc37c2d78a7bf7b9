package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// disassembled is the form that nvdisasm 13 prints.
const disassembled = `	.headerflags	@"EF_CUDA_SM90"
//--------------------- .text.product             --------------------------
	.section	.text.product,"ax",@progbits
	.sectioninfo	@"SHI_REGISTERS=32"
.text.product:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 LDG.E.128 R4, desc[UR8][R4.64] ;
        /*0020*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;
        /*0030*/             @!UP1 LDG.E.128.CONSTANT R8, desc[UR8][R4.64] ;
.L_x_1:
	.section	.text.spills,"ax",@progbits
	.sectionflags	@"SHF_BARRIERS=1"
        /*0000*/                   STL [R1], R2 ;
        /*0010*/                   LDG.E R4, desc[UR8][R4.64] ;
        /*0020*/                   LDL R2, [R1] ;
	.section	.nv.shared.spills,"aw",@nobits
        /*0000*/ 	.byte	0xff
`

func TestPromisesAreHeldToTheMachineCode(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "some.90.sass")
	if err := os.WriteFile(file, []byte(disassembled), 0o666); err != nil {
		t.Fatal(err)
	}
	got, err := read(file)
	want := []kernel{{file: "some.90", name: "product", all: 4, tensor: 1, wide: 2, global: 2}, {file: "some.90", name: "spills", all: 3, global: 1, local: 2}}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
	for promises, broken := range map[string][]string{
		"tensor product\nwide product\nlocal spills # why": nil,
		"wide prod*\nlocal spills":                         nil,
		"":                                                 {"some.90: spills uses local memory, 2 times"},
		"tensor s*\nlocal spills":                          {"some.90: spills uses no tensor cores"},
		"wide *\nlocal spills":                             {"some.90: spills has no load of 128 bits among 1"},
		"wide other\nlocal spills":                         {"wide other: there is no such kernel"},
	} {
		file := filepath.Join(dir, "promises.txt")
		if err := os.WriteFile(file, []byte(promises), 0o666); err != nil {
			t.Fatal(err)
		}
		if bad, n, err := run(file, dir); err != nil || n != 2 || !slices.Equal(bad, broken) {
			t.Errorf("%q: %q of %d, %v; want %q", promises, bad, n, err, broken)
		}
	}
	if _, err := parsePromises("fast product"); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("an unknown promise: %v", err)
	}
	if _, _, err := run(filepath.Join(dir, "promises.txt"), t.TempDir()); err == nil {
		t.Error("nothing to look at passes")
	}
}
