package parquet

import (
	"container/list"
	"io"
	"sync"
)

// Cache keeps the pages that were decoded last, for rows that are read one after another. Its methods may be called from
// several goroutines.
type Cache struct {
	mu    sync.Mutex
	most  int64 // bytes
	used  int64
	pages map[key]*entry
	order list.List // of *entry, the one that was used last in front
}

// NewCache returns a cache of at most so many bytes beside the pages that are being read.
func NewCache(bytes int64) *Cache { return &Cache{most: bytes, pages: map[key]*entry{}} }

type key struct {
	file                *File
	group, column, page int
}

type entry struct {
	key  key
	once sync.Once
	page *page
	err  error
	size int64
	at   *list.Element
}

// page holds the values of a page: value i ends at ends[i].
type page struct {
	data []byte
	ends []uint32
	null []bool
	ids  []int32 // of a page whose values are in a dictionary, in place of all this: their numbers, -1 for null
}

func (p *page) cell(i int) (data []byte, ok bool, err error) {
	if i >= len(p.ends) {
		return nil, false, io.ErrUnexpectedEOF
	}
	from := uint32(0)
	if i > 0 {
		from = p.ends[i-1]
	}
	return p.data[from:p.ends[i]:p.ends[i]], !p.null[i], nil
}

// page returns a page, which read decodes when it is not there. Of several callers one reads.
func (c *Cache) page(k key, read func() (*page, error)) (*page, error) {
	c.mu.Lock()
	e := c.pages[k]
	if e == nil {
		e = &entry{key: k}
		e.at = c.order.PushFront(e)
		c.pages[k] = e
	} else {
		c.order.MoveToFront(e.at)
	}
	c.mu.Unlock()
	e.once.Do(func() {
		e.page, e.err = read()
		c.mu.Lock()
		defer c.mu.Unlock()
		if e.err != nil { // it may pass
			c.drop(e)
			return
		}
		e.size = 256
		if e.page != nil {
			e.size += int64(cap(e.page.data) + 5*len(e.page.ends) + 4*len(e.page.ids))
		}
		if c.used += e.size; c.pages[k] != e {
			c.used -= e.size
		}
		for at := c.order.Back(); at != nil && c.used > c.most; {
			old, before := at.Value.(*entry), at.Prev()
			if old.size > 0 { // one that is being read has none yet
				c.drop(old)
			}
			at = before
		}
	})
	return e.page, e.err
}

// drop forgets a page. Who has it may go on using it.
func (c *Cache) drop(e *entry) {
	if c.pages[e.key] == e {
		delete(c.pages, e.key)
		c.order.Remove(e.at)
		c.used -= e.size
	}
}
