"""A topology in the terminal: its links as a tree, and their numbers as a table."""

from collections.abc import Iterable
from typing import Any

import networkx
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from testbed.schema.network.link import Link
from testbed.schema.network.topology import Topology
from testbed.show.topologies import numbers
from testbed.topologies.layout import graph_of


def print_topology(topology: Topology, console: Console) -> None:
    """Print the links as a tree, and the properties of each."""
    counts = [(len(topology.nodes), "node"), (len(topology.switches), "switch"), (len(topology.links), "link")]
    parts = ", ".join(f"{count} {_plural(word, count)}" for count, word in counts if count)
    console.print(Text.assemble((topology.name, "bold"), f": {parts}"))
    console.print(Padding(Group(*_trees(topology)), (1, 0, 1, 2)))
    print_links(topology.resolved_links, console)


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}es" if word.endswith("ch") else f"{word}s"


def _trees(topology: Topology) -> list[Tree]:
    """A tree for each connected part. Links that would close a cycle are named at one of their ends."""
    graph = graph_of(topology)
    trees = []
    for part in networkx.connected_components(graph):
        members = [name for name in graph if name in part]
        root = max(members, key=lambda name: (graph.degree(name), -members.index(name)))
        trees.append(_tree(topology, graph, networkx.bfs_tree(graph, root), root))
    return trees


def _tree(topology: Topology, graph: Any, below: Any, root: str) -> Tree:
    order = {name: number for number, name in enumerate(below)}

    def label(name: str) -> Text:
        # The other links of this one: to those that the tree has put elsewhere, named once, by whom it puts first.
        elsewhere = [
            other
            for other in graph[name]
            if not below.has_edge(name, other) and not below.has_edge(other, name) and order[name] < order[other]
        ]
        across = Text(f"  ↔ {', '.join(elsewhere)}", "yellow") if elsewhere else Text()
        return Text.assemble(_name(topology, name), across)

    branches = {root: Tree(label(root), guide_style="dim")}
    for name, child in below.edges:  # from the root outwards
        branches[child] = branches[name].add(label(child))
    return branches[root]


def _name(topology: Topology, name: str) -> Text:
    if name not in topology.nodes:
        return Text(name, "bold cyan")
    node = topology.nodes[name]
    return Text.assemble((name, "bold"), (f"  {', '.join(numbers.about(node))}", "dim"))


def print_links(links: Iterable[Link], console: Console) -> None:
    """A line for each link, or for each of its directions where they differ."""
    table = Table("link", "bandwidth", "delay", "loss", "", box=None, padding=(0, 2, 0, 2), header_style="dim")
    for link in links:
        for source, sign, target, direction in numbers.directions(link):
            table.add_row(
                f"{source} {sign} {target}",
                numbers.bandwidth(direction),
                numbers.delay(direction),
                numbers.loss(direction),
                numbers.others(direction),
            )
    console.print(table)
