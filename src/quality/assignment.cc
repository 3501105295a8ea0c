// A thin shim around LEMON: the complete bipartite digraph without stored arcs, and the network
// simplex on it. LEMON's own classes would store the 4 million arcs of 2,000 points (100 MB).
#include "assignment.h"

#include <new>
#include <vector>

#define LEMON_ONLY_TEMPLATES // header-only: nothing is linked
#include <lemon/config.h>
#include <lemon/core.h>
#include <lemon/bits/graph_extender.h>
#include <lemon/network_simplex.h>

namespace {

struct Node {
    int id;
    Node() = default;
    Node(lemon::Invalid) : id(-1) {
    }
    explicit Node(int i) : id(i) {
    }
    bool operator==(Node other) const {
        return id == other.id;
    }
    bool operator!=(Node other) const {
        return id != other.id;
    }
    bool operator<(Node other) const {
        return id < other.id;
    }
};

struct Arc {
    int id;
    Arc() = default;
    Arc(lemon::Invalid) : id(-1) {
    }
    explicit Arc(int i) : id(i) {
    }
    bool operator==(Arc other) const {
        return id == other.id;
    }
    bool operator!=(Arc other) const {
        return id != other.id;
    }
    bool operator<(Arc other) const {
        return id < other.id;
    }
};

// Nodes 0 .. m-1 are rows, m .. 2m-1 columns; arc m r + c leads from row r to column c. The names
// are those of LEMON's digraph concept; its extender makes iterators and maps from them.
class BipartiteBase {
  public:
    typedef BipartiteBase Digraph;
    typedef ::Node Node;
    typedef ::Arc Arc;
    typedef lemon::True NodeNumTag;
    typedef lemon::True ArcNumTag;

    int nodeNum() const {
        return 2 * m;
    }
    int arcNum() const {
        return m * m;
    }
    int maxNodeId() const {
        return nodeNum() - 1;
    }
    int maxArcId() const {
        return arcNum() - 1;
    }
    Node source(Arc arc) const {
        return Node(arc.id / m);
    }
    Node target(Arc arc) const {
        return Node(m + arc.id % m);
    }
    static int id(Node node) {
        return node.id;
    }
    static int id(Arc arc) {
        return arc.id;
    }
    static Node nodeFromId(int id) {
        return Node(id);
    }
    static Arc arcFromId(int id) {
        return Arc(id);
    }
    void first(Node &node) const {
        node.id = maxNodeId();
    }
    static void next(Node &node) {
        node.id--;
    }
    void first(Arc &arc) const {
        arc.id = maxArcId();
    }
    static void next(Arc &arc) {
        arc.id--;
    }
    void firstOut(Arc &arc, Node node) const {
        arc.id = node.id < m ? m * node.id + m - 1 : -1;
    }
    void nextOut(Arc &arc) const {
        arc.id = arc.id % m ? arc.id - 1 : -1;
    }
    void firstIn(Arc &arc, Node node) const {
        arc.id = node.id < m ? -1 : m * (m - 1) + node.id - m;
    }
    void nextIn(Arc &arc) const {
        arc.id = arc.id < m ? -1 : arc.id - m;
    }

  protected:
    int m = 0;
};

class Bipartite : public lemon::DigraphExtender<BipartiteBase> {
  public:
    explicit Bipartite(int rows) {
        m = rows;
        notifier(::Node()).build();
        notifier(::Arc()).build();
    }
    ~Bipartite() {
        notifier(::Arc()).clear();
        notifier(::Node()).clear();
    }
};

struct CostMap { // the simplex copies it
    typedef ::Arc Key;
    typedef int64_t Value;
    int m;
    sr_assignment_cost cost;
    const void *user;
    int64_t operator[](::Arc arc) const {
        return cost(static_cast<size_t>(arc.id / m), static_cast<size_t>(arc.id % m), user);
    }
};

struct SupplyMap { // one unit leaves each row and arrives in each column
    typedef ::Node Key;
    typedef int Value;
    int m;
    int operator[](::Node node) const {
        return node.id < m ? 1 : -1;
    }
};

} // namespace

bool sr_assignment_solve(size_t rows, sr_assignment_cost cost, const void *user, uint32_t *match,
                         int64_t *row_price, int64_t *column_price) {
    const int m = static_cast<int>(rows);
    try {
        Bipartite graph(m);
        lemon::NetworkSimplex<Bipartite, int, int64_t> simplex(graph);
        simplex.costMap(CostMap{m, cost, user}).supplyMap(SupplyMap{m});
        if (simplex.run() != simplex.OPTIMAL) // complete graphs have an assignment
            return false;
        for (int arc = 0; arc < m * m; arc++)
            if (simplex.flow(::Arc(arc)) > 0)
                match[arc / m] = static_cast<uint32_t>(arc % m);
        // LEMON's potentials: cost + potential(source) - potential(target) is 0 where flow runs.
        for (int i = 0; i < m; i++) {
            row_price[i] = -simplex.potential(::Node(i));
            column_price[i] = simplex.potential(::Node(m + i));
        }
        return true;
    } catch (const std::bad_alloc &) {
        return false;
    }
}

const char *sr_assignment_library(void) {
    return "LEMON " LEMON_VERSION;
}
