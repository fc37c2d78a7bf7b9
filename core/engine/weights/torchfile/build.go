package torchfile

import (
	"strconv"
	"strings"

	"tandem/core/fault"
)

// container runs the operations that build tuples, lists and dicts.
func (m *machine) container(op byte) (known bool, err error) {
	switch op {
	case '(':
		m.push(mark{})
	case '0':
		_, err = m.pop()
	case '1':
		_, err = m.popMark()
	case ')':
		m.push(tuple{})
	case 0x85, 0x86, 0x87:
		var items []any
		if items, err = m.popN(int(op - 0x84)); err == nil {
			m.push(tuple(items))
		}
	case 't', 'l', 'd':
		var items []any
		if items, err = m.popMark(); err != nil {
			return true, err
		}
		switch op {
		case 't':
			m.push(tuple(items))
		case 'l':
			m.push(&list{items})
		default:
			d := &dict{}
			m.push(d)
			err = m.setAll(d, items)
		}
	case ']', 0x8f: // EMPTY_LIST, EMPTY_SET
		m.push(&list{})
	case '}':
		m.push(&dict{})
	case 'a', 'e', 0x90: // APPEND, APPENDS, ADDITEMS
		var items []any
		if op == 'a' {
			items, err = m.popN(1)
		} else {
			items, err = m.popMark()
		}
		if err != nil {
			return true, err
		}
		l, ok := m.top().(*list)
		if !ok {
			return true, m.corrupt("items for what is no list")
		}
		l.items = append(l.items, items...)
	case 's', 'u': // SETITEM, SETITEMS
		var items []any
		if op == 's' {
			items, err = m.popN(2)
		} else {
			items, err = m.popMark()
		}
		if err == nil {
			err = m.setAll(m.top(), items)
		}
	default:
		return false, nil
	}
	return true, err
}

func (m *machine) top() any {
	if len(m.stack) == 0 {
		return nil
	}
	return m.stack[len(m.stack)-1]
}

func (m *machine) setAll(to any, items []any) error {
	d, ok := to.(*dict)
	if !ok || len(items)%2 != 0 {
		return m.corrupt("entries for what is no dict")
	}
	for i := 0; i < len(items); i += 2 {
		d.set(items[i], items[i+1])
	}
	return nil
}

// call runs the operations that name something of Python or make it.
func (m *machine) call(op byte) error {
	switch op {
	case 'c', 0x93: // GLOBAL, STACK_GLOBAL
		g, err := m.name(op)
		if err != nil {
			return err
		}
		if !g.allowed(m.script) {
			return fault.New(fault.Invalid, "the file wants Python to load %s (pickle, byte %d), which is no part of weights", g, m.at).
				WithHint("only tensors are read; if you trust its source, take the state dict out with Python")
		}
		m.push(g)
	case 'R', 0x81: // REDUCE, NEWOBJ
		both, err := m.popN(2)
		if err != nil {
			return err
		}
		g, named := both[0].(global)
		args, ok := both[1].(tuple)
		if !named || !ok {
			return m.corrupt("a call of what is no function")
		}
		v, err := m.apply(g, args)
		if err != nil {
			return err
		}
		m.push(v)
	case 'b': // BUILD
		state, err := m.pop()
		if err != nil {
			return err
		}
		switch o := m.top().(type) {
		case *object:
			o.state = state
		case *dict, *tensor: // attributes, such as the versions of modules
		default:
			return m.corrupt("a state for what has none")
		}
	case 'Q': // BINPERSID
		id, err := m.pop()
		if err != nil {
			return err
		}
		s, err := m.storage(id)
		if err != nil {
			return err
		}
		m.push(s)
	default:
		return fault.New(fault.Invalid, "the pickle has the operation %#02x at byte %d, which weights have no use for", op, m.at-1)
	}
	return nil
}

func (m *machine) name(op byte) (g global, err error) {
	if op == 'c' {
		if g.module, err = m.line(); err == nil {
			g.name, err = m.line()
		}
		return g, err
	}
	both, err := m.popN(2)
	if err != nil {
		return g, err
	}
	module, ok1 := both[0].(string)
	name, ok2 := both[1].(string)
	if !ok1 || !ok2 {
		return g, m.corrupt("a name that is no text")
	}
	return global{module, name}, nil
}

func (g global) String() string {
	text := strings.ToValidUTF8(g.module+"."+g.name, "?")
	return strconv.Quote(text[:min(len(text), 200)])
}
