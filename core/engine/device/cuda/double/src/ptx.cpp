#include "ptx.h"

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <set>

namespace cudadouble {
namespace {

// words splits into names, numbers and single punctuation; comments and strings are left out.
std::vector<std::string> words(const std::string &s) {
  std::vector<std::string> all;
  for (size_t i = 0; i < s.size();) {
    const char c = s[i];
    if (isspace((unsigned char)c)) {
      i++;
    } else if (s.compare(i, 2, "//") == 0) {
      while (i < s.size() && s[i] != '\n') i++;
    } else if (s.compare(i, 2, "/*") == 0) {
      const size_t end = s.find("*/", i + 2);
      i = end == s.npos ? s.size() : end + 2;
    } else if (c == '"') {
      const size_t end = s.find('"', i + 1);
      i = end == s.npos ? s.size() : end + 1;
    } else if (isalnum((unsigned char)c) || strchr("._$%", c)) {
      const size_t from = i++;
      while (i < s.size() && (isalnum((unsigned char)s[i]) || strchr("._$%", s[i]))) i++;
      all.push_back(s.substr(from, i - from));
    } else {
      all.push_back(std::string(1, c)), i++;
    }
  }
  return all;
}

size_t sizeOf(const std::string &type) { // ".b32"
  const size_t digits = type.find_first_of("0123456789");
  return digits == type.npos ? 1 : size_t(atoi(type.c_str() + digits)) / 8;
}

// shared returns the bytes of a declaration like `.shared .align 4 .b8 name[128];` whose words start at i.
size_t shared(const std::vector<std::string> &w, size_t i, std::string &name) {
  size_t element = 1, n = 1;
  for (i++; i < w.size() && w[i] != ";"; i++) {
    if (w[i] == ".align") i++;
    else if (w[i][0] == '.') element = sizeOf(w[i]);
    else if (w[i] == "[") n *= w[i + 1] == "]" ? 0 : size_t(atoll(w[i + 1].c_str()));
    else if (w[i] != "]" && w[i - 1] != "[") name = w[i];
  }
  return element * n;
}

int product(const std::vector<std::string> &w, size_t i) { // 256, 1, 1
  int n = atoi(w[i].c_str());
  while (i + 2 < w.size() && w[i + 1] == ",") i += 2, n *= atoi(w[i].c_str());
  return n;
}

} // namespace

Ptx readPtx(const std::string &text) {
  Ptx p;
  const std::vector<std::string> w = words(text);
  Entry *entry = nullptr;
  int depth = 0;
  bool parameters = false;
  std::map<std::string, size_t> everyones; // shared memory at module scope: of the kernels that name it
  std::set<std::string> counted;
  for (size_t i = 0; i < w.size(); i++) {
    const bool more = i + 1 < w.size();
    if (w[i] == ".version" && more) p.version = int(atof(w[i + 1].c_str()) * 10 + 0.5);
    else if (w[i] == ".target" && more && w[i + 1].compare(0, 3, "sm_") == 0) p.target = atoi(w[i + 1].c_str() + 3);
    else if (w[i] == ".entry" && more) entry = &p.entries[w[++i]], parameters = true, counted.clear();
    else if (w[i] == ".func") entry = nullptr;
    else if (w[i] == ".param" && parameters && entry && more) entry->parameters.push_back(w[i + 1].substr(1));
    else if (w[i] == ")") parameters = false;
    else if ((w[i] == ".maxntid" || w[i] == ".reqntid") && entry && more) entry->maxThreads = product(w, i + 1);
    else if (w[i] == ".maxnreg" && entry && more) entry->registers = atoi(w[i + 1].c_str());
    else if (w[i] == ".shared") {
      std::string name;
      const size_t bytes = shared(w, i, name);
      if (depth && entry) entry->shared += bytes;
      else everyones[name] = bytes;
    } else if (w[i] == "{") depth++;
    else if (w[i] == "}") depth--;
    else if (depth && entry && everyones.count(w[i]) && counted.insert(w[i]).second) entry->shared += everyones[w[i]];
  }
  if (!p.version || !p.target) p.error = "no .version and .target";
  else if (depth) p.error = "its braces do not match";
  return p;
}

} // namespace cudadouble
