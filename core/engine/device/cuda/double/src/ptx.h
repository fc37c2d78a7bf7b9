// What the double reads from PTX text.
#pragma once
#include <map>
#include <string>
#include <vector>

namespace cudadouble {

struct Entry {
  std::vector<std::string> parameters; // "u64", "f64", ...
  int maxThreads = 1024;               // .maxntid or .reqntid
  int registers = 0;                   // .maxnreg
  size_t shared = 0;                   // static bytes
};

struct Ptx {
  int version = 0, target = 0; // 7.8 as 78; sm_70 as 70
  std::map<std::string, Entry> entries;
  std::string error; // why it is none
};

Ptx readPtx(const std::string &text);

} // namespace cudadouble
