// Streams: work runs only when something waits for it, so that a missing synchronisation shows.
#pragma once
#include <cuda.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "context.h"

namespace cudadouble {

// Span names device memory that work touches; checked when it is issued and when it runs.
struct Span {
  uintptr_t at;
  size_t bytes;
  std::string what;
};

// Work holds what a stream does. A graph may run it many times.
struct Work {
  std::string name;
  std::vector<Span> spans;
  std::function<CUresult()> run; // an error is sticky to the context
};

// Node holds work with what must come before it.
struct Node {
  Context *context;
  std::shared_ptr<const Work> work; // null: a mark
  uint64_t number;
  std::vector<std::shared_ptr<Node>> before;
  bool done = false;
  double finished = 0; // seconds, when done
};

// Graph holds captured work; before holds indexes.
struct Graph {
  struct Item {
    std::shared_ptr<const Work> work;
    std::vector<int> before;
  };
  std::vector<Item> items;
};

// Capture holds a graph in the making.
struct Capture {
  std::shared_ptr<Graph> graph = std::make_shared<Graph>();
  Stream *origin;
  CUstreamCaptureMode mode;
  std::thread::id thread;
  bool invalid = false, over = false;
};

struct Stream {
  Context *context;
  unsigned flags;
  int priority;
  std::shared_ptr<Node> tail;
  std::deque<std::shared_ptr<Node>> pending;
  std::shared_ptr<Capture> capture; // null when it does not take part in one
  std::vector<int> captured;        // its last items there
};

Stream *newStream(Context *, unsigned flags, int priority);
void dropStream(Stream *);
void endEvents(Context *);

// streamOf returns the stream of a handle in the current context; null with a finding when there is none.
Stream *streamOf(CUstream, const char *call, CUresult *);

// enqueue checks the spans and puts work at the end of a stream, or of its capture.
CUresult enqueue(Stream *, Work);
// mark returns the end of a stream as it is now.
std::shared_ptr<Node> mark(Stream *);
// complete runs a node and all before it.
void complete(const std::shared_ptr<Node> &);
void completeAll(Context *);
// perform runs work now: its spans checked, guards afterwards, errors sticky.
void perform(Context *, const Work &);
// after makes what the stream does next wait for a node.
void after(Stream *, const std::shared_ptr<Node> &);

// unsafeInCapture returns the error of a call that must not be made while a stream captures.
CUresult unsafeInCapture(const char *call);
// now returns the seconds of a steady clock.
double now();
// draw returns a pseudo-random number; only with a seed.
uint64_t draw();

} // namespace cudadouble
