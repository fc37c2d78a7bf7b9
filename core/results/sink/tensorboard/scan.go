package tensorboard

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// scan notes the newest step of each scalar of an event file. It ends, as TensorBoard does, at a record that is cut short or broken: what a
// process that was killed left.
func scan(path string, newest map[string]int) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<20)
	var head [12]byte
	var data []byte
	const longest = 64 << 20 // of a record; a broken length must not take all memory
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return whole(err)
		}
		n := binary.LittleEndian.Uint64(head[:])
		if binary.LittleEndian.Uint32(head[8:]) != masked(head[:8]) || n > longest {
			return nil
		}
		data = slices.Grow(data[:0], int(n)+4)[:n+4]
		if _, err := io.ReadFull(in, data); err != nil {
			return whole(err)
		}
		body := data[:n]
		if binary.LittleEndian.Uint32(data[n:]) != masked(body) {
			return nil
		}
		note(body, newest)
	}
}

// whole takes the end of a file for no error.
func whole(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// note notes the scalars of an Event.
func note(event []byte, newest map[string]int) {
	step, start := 0, false
	var summary []byte
	each(event, func(field protowire.Number, number uint64, data []byte) {
		switch field {
		case 2:
			step = int(number)
		case 5:
			summary = data
		case 7:
			start = true
		}
	})
	if start {
		void(newest, step)
		return
	}
	each(summary, func(_ protowire.Number, _ uint64, value []byte) {
		tag, scalar := "", false
		each(value, func(field protowire.Number, _ uint64, data []byte) {
			switch field {
			case 1:
				tag = string(data)
			case 2:
				scalar = true
			}
		})
		if scalar {
			newest[tag] = max(newest[tag], step)
		}
	})
}

// void forgets what is at a step or later.
func void(newest map[string]int, step int) {
	for tag, last := range newest {
		newest[tag] = min(last, step-1)
	}
}

// each calls f for every field of a message that can be read. Number is that of a varint, data that of bytes.
func each(b []byte, f func(field protowire.Number, number uint64, data []byte)) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		var number uint64
		var data []byte
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return
		}
		b = b[n:]
		f(field, number, data)
	}
}
