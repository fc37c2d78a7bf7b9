// What the doubles of libraries keep for all threads: a program makes, uses and destroys objects on several at once.
#pragma once
#include <mutex>
#include <set>

namespace cudadouble {

// Known is a set that threads share.
template <class T> class Known {
public:
  // insert is false when x was in the set before.
  bool insert(const T &x) {
    return alone([&] { return all_.insert(x).second; });
  }
  // erase is false when x was not in the set.
  bool erase(const T &x) {
    return alone([&] { return all_.erase(x) == 1; });
  }
  bool has(const T &x) {
    return alone([&] { return all_.count(x) == 1; });
  }
  size_t size() {
    return alone([&] { return all_.size(); });
  }

private:
  template <class F> auto alone(const F &f) {
    std::lock_guard<std::mutex> lock(mu_);
    return f();
  }
  std::mutex mu_;
  std::set<T> all_;
};

} // namespace cudadouble
